#include "core/config/mixed_precision_config.h"

namespace octavo {

std::span<const OptionDef> MixedPrecisionConfig::fields() {
  using C = MixedPrecisionConfig;
  static const std::vector<OptionDef> kFields = {
      {.name = "dtype",
       .help = "Type of values in mixed precision; fp32 leaves the operator as it is",
       .in = option_in<&C::dtype>,
       .choices = {"bf16", "fp16", "fp32"}},
      {.name = "allow_list",
       .help = "Operator types to convert always, besides convolutions and matrix products",
       .in = option_in<&C::allow_list>,
       .in_local = false},
      {.name = "infer_list",
       .help = "Operator types to convert where their inputs are converted already",
       .in = option_in<&C::infer_list>,
       .in_local = false},
      {.name = "deny_list",
       .help = "Operator types that stay in float32, with what follows them",
       .in = option_in<&C::deny_list>,
       .in_local = false},
      white_list_option("Operator types and node names (exact or glob) to convert; * means all"),
  };
  return kFields;
}

}  // namespace octavo
