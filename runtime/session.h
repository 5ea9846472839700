// Runs a model: named tensors in, named tensors out. Makes a plan per set of input shapes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/plan.h"

namespace octavo {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct SessionOptions {
  std::vector<std::shared_ptr<Backend>> backends = {};  // asked before the portable one
  std::shared_ptr<ThreadPool> pool = nullptr;           // none: one thread
  std::shared_ptr<Backend> last = nullptr;              // in the place of the portable one
  std::shared_ptr<WeightCache> weight_cache = nullptr;  // of packed weights; none: they are packed
  bool reference_only = false;                          // no fast kernels: for tests
  size_t max_plans = 8;  // plans kept for different input shapes; the oldest goes first
};

/// Not for concurrent use: one session per thread, or a lock.
class Session {
 public:
  /// Errors: kInvalidModel, kUnsupportedOp naming every operator that cannot run.
  static Result<Session> create(std::shared_ptr<const Graph> graph, SessionOptions options = {});

  const Graph& graph() const { return *graph_; }

  /// Runs the model. Feeds are matched by name; dtypes and shapes are checked. Outputs come in the
  /// graph's order. `observer` sees the values it wants.
  /// Errors: kNotFound (no such input), kInvalidArgument (missing or doubled input),
  /// kShapeMismatch.
  Result<NamedTensors> run(const NamedTensors& feeds, Observer* observer = nullptr);

  /// Inputs by position, outputs as views into the session's memory, valid until its next run.
  Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
             Observer* observer = nullptr);

  /// Of constants, and of the activations of one run with the shapes that were planned for last.
  int64_t memory_bytes() const;

  /// The plan for inputs of these shapes, made if new.
  Result<Plan*> plan_for(std::span<const TensorView> inputs, const Observer* observer = nullptr);

 private:
  struct Entry {
    std::vector<Shape> shapes;
    std::vector<bool> watched;
    std::unique_ptr<Plan> plan;
  };
  Result<std::vector<TensorView>> order_feeds(const NamedTensors& feeds) const;

  std::shared_ptr<const Graph> graph_;
  size_t own_values_ = 0;  // those of the graph that was given; observers know no others
  SessionOptions options_;
  std::shared_ptr<Backend> portable_;
  std::vector<Entry> plans_;
};

}  // namespace octavo
