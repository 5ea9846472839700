// Runs of a case's graph in which each step says what ran it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel_case.h"
#include "runtime/session.h"

namespace octavo::testing {

struct StepNames final : Observer {
  explicit StepNames(ValueId watched = kNoValue) : watched_(watched) {}
  bool wants(ValueId value) const override { return value == watched_; }
  Status on_value(ValueId value, const TensorView&) override {
    shown.push_back(value);
    return {};
  }
  bool wants_time() const override { return true; }
  void on_step(const StepInfo& info, double) override {
    kernels.push_back(info.kernel);
    backends.push_back(info.backend);
  }

  std::vector<std::string> kernels, backends;  // of the steps, in their order
  std::vector<ValueId> shown;

 private:
  ValueId watched_;
};

struct Outcome {
  Tensor output;  // the first
  StepNames steps;
};

/// `watched`: a value that no step may hide.
inline Outcome observed_run(const KernelCase& c, const SessionOptions& options,
                            ValueId watched = kNoValue) {
  auto session = Session::create(std::make_shared<Graph>(c.graph), options);
  EXPECT_TRUE(session) << session.error().to_string();
  NamedTensors feeds;
  for (const ValueId id : c.graph.inputs) {
    feeds.emplace_back(c.graph.value(id).name, c.data[static_cast<size_t>(id)]);
  }
  StepNames steps(watched);
  const auto outputs = session->run(feeds, &steps);
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  return {outputs->front().second, std::move(steps)};
}

}  // namespace octavo::testing
