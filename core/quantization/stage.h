// One stage of a recipe at work: a float (or partly quantized) graph in, a graph out.
#pragma once

#include <algorithm>

#include "core/octavo.h"

namespace octavo {

class Stage {
 public:
  virtual ~Stage() = default;
  /// How often the stage wants to see the calibration data; 0: not at all. end_pass() may lower it.
  virtual int passes() const = 0;
  /// Takes one sample's feeds. Errors: kInvalidData and those of Session::run; the sample then
  /// counts for nothing.
  virtual Status observe(const NamedTensors& feeds) = 0;
  /// The data has been seen once more.
  virtual Status end_pass() = 0;
  /// The graph that the stage makes, after all passes. Fills the report's nodes, warnings and
  /// samples.
  virtual Result<Graph> finish(QuantizeReport& report) = 0;
};

/// Work that follows the data: tells how far it is, and ends if the listener says so.
class Work {
 public:
  Work(ProgressFn listener, int64_t total) : listener_(std::move(listener)), total_(total) {}
  /// One more step is done. Error kCancelled.
  Status step() {
    done_ = std::min(done_ + 1, total_);
    if (!listener_ || listener_(done_, total_)) return {};
    return fail(ErrorCode::kCancelled, "quantization was cancelled after ", done_, " of ", total_,
                " steps");
  }

 private:
  ProgressFn listener_;
  int64_t done_ = 0, total_;
};

/// What a stage is made from.
struct StageInput {
  std::shared_ptr<const Graph> graph;
  std::shared_ptr<ThreadPool> pool = nullptr;
  std::shared_ptr<StageCache> cache = nullptr;  // what other recipes over the same data found
  bool deterministic = false;                   // QuantizeOptions::deterministic
  ProgressFn progress = {};                     // QuantizeOptions::progress

  /// For every session of a stage.
  SessionOptions session_options() const {
    SessionOptions options{.pool = pool};
    if (deterministic) options.last = make_deterministic_backend();
    return options;
  }
};

/// Errors: those of a recipe that need no data (kNotFound for names that match nothing, ...).
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const QuantConfig& config);

// One for each alternative of QuantConfig.
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const StaticQuantConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const MixedPrecisionConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const DynamicQuantConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const SmoothQuantConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const RTNConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const GPTQConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const AWQConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const HQQConfig& config);
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const AdaroundConfig& config);

}  // namespace octavo
