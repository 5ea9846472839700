// Several requests at once: a model in one or more streams, each a session of its own.
#pragma once

#include <functional>
#include <vector>

#include "native/batch.h"

namespace octavo {

/// A latency hint runs one request at a time on all threads; a throughput hint runs one request, or
/// a batch of them, on each thread at the same time, which wastes nothing on synchronisation.
enum class PerformanceHint { kLatency, kThroughput };

class Streams {
 public:
  /// Sessions of the model for `hint`: one with all of `threads` (0: one per core), or one of one
  /// thread for each of them.
  /// `options.pool` is replaced. Of a batch of more than 1 each stream joins so many requests;
  /// error kInvalidArgument if the model's batch is not open.
  static Result<Streams> create(const Model& model, const SessionOptions& options, int threads,
                                PerformanceHint hint, int batch = 1);

  size_t size() const { return sessions_.size(); }

  /// Runs every feed, as many at a time as the streams take, and gives each result to `done`
  /// (feed's index, outputs), from any stream's thread, one call at a time. The first error ends
  /// it.
  Status run(int64_t count, const std::function<Result<NamedTensors>(int64_t)>& feed,
             const std::function<Status(int64_t, NamedTensors)>& done);

 private:
  std::vector<Session> sessions_;
  std::optional<Batch> joint_;
  int64_t batch_ = 1;
};

}  // namespace octavo
