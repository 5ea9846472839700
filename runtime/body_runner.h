// Runs the bodies of If, Loop and Scan, with a plan for each body and set of input shapes.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "runtime/plan.h"

namespace octavo {

class BodyRunner : public GraphRunner {
 public:
  explicit BodyRunner(PlanOptions options) : options_(std::move(options)) {
    options_.watch = nullptr;
    options_.weight_cache = nullptr;  // which keeps what sessions pack first
  }
  Result<std::vector<Tensor>> run(const Graph& body, std::span<const TensorView> inputs) override;

 private:
  struct Entry {
    std::vector<Shape> shapes;
    std::unique_ptr<Plan> plan;
  };
  PlanOptions options_;
  std::map<const Graph*, std::vector<Entry>> plans_;
};

/// What a plan needs to know of its inputs.
std::vector<TensorInfo> infos_of(std::span<const TensorView> views);

}  // namespace octavo
