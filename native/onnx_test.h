// Runs ONNX's backend tests: folders with a model.onnx and test_data_set_*/{input,output}_N.pb.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/octavo.h"

namespace octavo {

struct OnnxTestResult {
  struct Case {
    std::string name, why;
  };
  std::vector<std::string> passed;
  std::vector<Case> failed;       // a wrong result, or an error
  std::vector<Case> unsupported;  // an operator, attribute or type that Octavo does not have
};

/// Runs each folder's model on each of its data sets and compares the outputs as ONNX's own runner
/// does: |actual - expected| <= 1e-7 + 1e-3 |expected|, exactly for integers, booleans and strings.
/// `progress`, if given, is called after each folder.
OnnxTestResult run_onnx_tests(std::span<const std::string> folders,
                              const std::function<void(size_t done, size_t total)>& progress = {},
                              const SessionOptions& options = {});

}  // namespace octavo
