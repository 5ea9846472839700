// Runs a model: named tensors in, named tensors out. Makes a plan per set of input shapes.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/plan.h"

namespace octavo {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct SessionOptions {
  std::vector<std::shared_ptr<Backend>> backends = {};  // before the portable one
  std::shared_ptr<ThreadPool> pool = nullptr;
  bool reference_only = false;  // no fast kernels: for tests
  size_t max_plans = 8;         // plans kept for different input shapes; the oldest goes first
};

class Session {
 public:
  /// Errors: kUnsupportedOp naming every operator that cannot run.
  static Result<Session> create(std::shared_ptr<const Graph> graph, SessionOptions options = {});

  const Graph& graph() const { return *graph_; }
  /// Runs the model. Feeds are matched by name; dtypes and shapes are checked. Outputs in the
  /// graph's order. `observer` sees the values it wants.
  Result<NamedTensors> run(const NamedTensors& feeds, Observer* observer = nullptr);
  /// Inputs by position, outputs as views valid until the next run; the steady state of a
  /// static-shape model allocates nothing.
  Result<std::vector<Tensor>> run(std::span<const TensorView> inputs, Observer* observer = nullptr);
  /// The plan for these input shapes (made if new).
  Result<Plan*> plan_for(std::span<const TensorView> inputs, const Observer* observer);

 private:
  struct Entry {
    std::vector<Shape> shapes;
    std::vector<bool> watched;
    std::unique_ptr<Plan> plan;
  };
  Result<std::vector<TensorView>> order_feeds(const NamedTensors& feeds) const;

  std::shared_ptr<const Graph> graph_;
  SessionOptions options_;
  std::shared_ptr<Backend> portable_;
  std::vector<Entry> plans_;
};

}  // namespace octavo
