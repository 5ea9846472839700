// How much each operator alone costs: the model's error when nothing but that one is quantized.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/octavo.h"

namespace octavo {

/// Error of output 0, as SQNR in dB.
struct OpSensitivity {
  std::string node, op;
  double sqnr_db = 0;              // the operator quantized, everything else float
  double weights_sqnr_db = 0;      // only its weights
  double activations_sqnr_db = 0;  // what its activations add to that
};

/// Samples on which operators are ranked.
inline constexpr int64_t kSensitivitySamples = 2;

class SensitivityRanker {
 public:
  SensitivityRanker(const Model& float_model, const Model& quantized,
                    std::shared_ptr<ThreadPool> pool = nullptr)
      : float_(float_model), quantized_(quantized), pool_(std::move(pool)) {}

  /// Keeps the first kSensitivitySamples samples.
  Status observe(const NamedTensors& feeds);
  /// Those of the quantized operators `nodes` (names) whose tensors are known in the float model,
  /// the most sensitive first. Two sessions for each. `progress`: operators done; false ends it
  /// with error kCancelled.
  Result<std::vector<OpSensitivity>> finish(std::span<const std::string> nodes,
                                            const ProgressFn& progress = {}) const;

 private:
  Model float_, quantized_;
  std::shared_ptr<ThreadPool> pool_;
  std::vector<NamedTensors> samples_;
};

}  // namespace octavo
