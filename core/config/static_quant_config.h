// Static quantization: integer weights and activations, ranges from calibration data.
#pragma once

#include "core/config/option.h"

namespace octavo {

struct StaticQuantConfig : Config<StaticQuantConfig> {
  static constexpr const char* kName = "static_quant";
  static std::span<const OptionDef> fields();

  std::string weight_dtype = "int8";
  bool weight_sym = true;
  std::string weight_granularity = "per_tensor";
  std::string weight_algorithm = "minmax";
  std::string act_dtype = "int8";
  bool act_sym = true;
  std::string act_granularity = "per_tensor";
  std::string act_algorithm = "minmax";
  double percentile = 99.999;
  double averaging_constant = 0.01;
  double quantile_outlier_prob = 0.0001;
  int64_t num_quantized_bins = 0;
};

}  // namespace octavo
