// Dynamic quantization: integer weights; activations are quantized while running, by the range of
// each tensor. Needs no calibration data.
#pragma once

#include "core/config/option.h"

namespace octavo {

struct DynamicQuantConfig : Config<DynamicQuantConfig> {
  static constexpr const char* kName = "dynamic_quant";
  static std::span<const OptionDef> fields();

  std::string weight_dtype = "int8";
  bool weight_sym = true;
  std::string weight_granularity = "per_tensor";
};

}  // namespace octavo
