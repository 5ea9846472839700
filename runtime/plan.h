// A plan runs one graph for one set of input shapes: claims compiled to steps, layouts settled,
// every activation placed in one arena by liveness.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/weight_cache.h"

namespace octavo {

/// Taps the values of a run: asked first, then shown. Serves calibration, comparison and timing.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual bool wants(ValueId value) const = 0;
  /// `tensor` may have channels-last layout. Valid during the call only.
  virtual Status on_value(ValueId value, const TensorView& tensor) = 0;
  virtual void on_step(const struct StepInfo&, double /*seconds*/) {}
  virtual bool wants_time() const { return false; }
};

/// What one step runs: shown by `bench --per-op` and dumps.
struct StepInfo {
  std::string name;    // the last node's
  std::string op;      // "Conv"
  std::string kernel;  // "conv_u8s8", "reference", "reorder", ...
  std::string backend;
  std::string shape;                // of output 0
  int64_t macs = 0;                 // multiply-accumulates, of convolutions and matrix products
  DType dtype = DType::kUndefined;  // of input 0
};

struct PlanOptions {
  std::vector<Backend*> backends;  // in order of priority; the last one must be total
  ThreadPool* pool = nullptr;
  const Observer* watch = nullptr;  // values it wants stay visible
  WeightCache* weight_cache = nullptr;
};

class Plan {
 public:
  virtual ~Plan() = default;
  /// `inputs`: dtype and static shape of each graph input. `graph` must outlive the plan.
  static Result<std::unique_ptr<Plan>> create(const Graph& graph,
                                              std::span<const TensorInfo> inputs,
                                              const PlanOptions& options);
  /// Inputs in plain layout, in the graph's order, of the dtypes and shapes the plan was made for.
  /// Outputs are made to point into the plan's memory (plain layout), valid until the next run.
  virtual Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
                     Observer* observer = nullptr) = 0;
  virtual int64_t arena_bytes() const = 0;
  virtual std::vector<StepInfo> steps() const = 0;
};

}  // namespace octavo
