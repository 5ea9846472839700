#include "core/config/static_quant_config.h"

namespace octavo {

std::span<const OptionDef> StaticQuantConfig::fields() {
  using C = StaticQuantConfig;
  static const std::vector<OptionDef> kFields = {
      {.name = "weight_dtype",
       .help = "Type of quantized weights; fp32 leaves the operator float",
       .in = option_in<&C::weight_dtype>,
       .choices = {"int8", "uint8", "bf16", "fp32"}},
      {.name = "weight_sym",
       .help = "Weights' range is symmetric around zero (int8: -127 to 127)",
       .in = option_in<&C::weight_sym>},
      {.name = "weight_granularity",
       .help = "One scale for a weight tensor, or one for each of its output channels",
       .in = option_in<&C::weight_granularity>,
       .choices = {"per_tensor", "per_channel"}},
      {.name = "weight_algorithm",
       .help = "How weights' ranges are chosen",
       .in = option_in<&C::weight_algorithm>,
       .choices = {"minmax"}},
      {.name = "act_dtype",
       .help = "Type of quantized activations; fp32 leaves the operator float",
       .in = option_in<&C::act_dtype>,
       .choices = {"int8", "uint8", "bf16", "fp32"}},
      {.name = "act_sym",
       .help = "Activations' range is symmetric around zero, or from zero if never negative; "
               "inputs' is not",
       .in = option_in<&C::act_sym>},
      {.name = "act_granularity",
       .help = "Activations have one scale for a tensor",
       .in = option_in<&C::act_granularity>,
       .choices = {"per_tensor"}},
      {.name = "act_algorithm",
       .help = "How activations' ranges are chosen from the calibration data",
       .in = option_in<&C::act_algorithm>,
       .choices = {"minmax"}},
      white_list_option("Operator types and node names (exact or glob) to quantize; * means all"),
  };
  return kFields;
}

}  // namespace octavo
