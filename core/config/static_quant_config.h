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
};

}  // namespace octavo
