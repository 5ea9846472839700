#include "core/config/dynamic_quant_config.h"

namespace octavo {

std::span<const OptionDef> DynamicQuantConfig::fields() {
  using C = DynamicQuantConfig;
  static const std::vector<OptionDef> kFields = {
      {.name = "weight_dtype",
       .help = "Type of quantized weights (of convolutions always uint8: other runtimes have no "
               "other); fp32 leaves the operator float",
       .in = option_in<&C::weight_dtype>,
       .choices = {"int8", "uint8", "fp32"}},
      {.name = "weight_sym",
       .help = "Weights' range is symmetric around zero",
       .in = option_in<&C::weight_sym>},
      {.name = "weight_granularity",
       .help = "One scale for a weight tensor, or one for each of its output channels",
       .in = option_in<&C::weight_granularity>,
       .choices = {"per_tensor", "per_channel"}},
      white_list_option("Operator types and node names (exact or glob) to quantize; * means all"),
  };
  return kFields;
}

}  // namespace octavo
