// Static quantization: integer weights and activations, ranges from calibration data.
#pragma once

#include "core/config/rounding_options.h"

namespace octavo {

struct StaticQuantConfig : RoundingOptions<Config<StaticQuantConfig>> {
  static constexpr const char* kName = "static_quant";
  static std::span<const OptionDef> fields();

  /// Whose formulas: other than custom, decides the types and forms of ranges below; apply_scheme.
  std::string scheme = "custom";
  std::string weight_dtype = "int8";
  bool weight_sym = true;
  std::string weight_granularity = "per_channel";
  std::string weight_algorithm = "minmax";
  bool narrow_range = true;
  bool reduce_range = false;
  bool overflow_fix = false;
  std::string act_dtype = "uint8";
  bool act_sym = false;
  std::string act_granularity = "per_tensor";
  std::string act_algorithm = "mse";
  bool act_reduce_range = false;
  double percentile = 99.999;
  double averaging_constant = 0.01;
  double quantile_outlier_prob = 0.0001;
  int64_t num_quantized_bins = 0;
  std::string io_dtype = "fp32";
  bool integer_only = false;
  bool first_conv_or_matmul_quantization = true;
  bool last_conv_or_matmul_quantization = true;
  double max_concat_ratio = 64;
  std::string equalization = "auto";
  bool bias_absorption = true;
  double absorption_deviations = 3;
  bool bias_correction = true;
  std::string rounding = "nearest";
};

/// What "auto" stands for: cross_layer or channels, by weight_granularity.
std::string_view equalization_of(const StaticQuantConfig& config);

/// Sets the options that `config.scheme` decides, in local configs too.
void apply_scheme(StaticQuantConfig& config);

}  // namespace octavo
