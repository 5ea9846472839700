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
       .help = "How weights' ranges are chosen: by their extremes, or those with the least error",
       .in = option_in<&C::weight_algorithm>,
       .choices = {"minmax", "mse", "kl", "percentile"}},
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
       .choices = {"minmax", "kl", "percentile", "mse", "moving_average", "mean_minmax",
                   "median_minmax", "mean_no_outliers", "mean_quantile"}},
      {.name = "percentile",
       .help = "Algorithm percentile: percent of the values that the range holds; of the others "
               "half lie below and half above",
       .in = option_in<&C::percentile>,
       .min = 50,
       .max = 100},
      {.name = "averaging_constant",
       .help = "Algorithm moving_average: weight of each further sample",
       .in = option_in<&C::averaging_constant>,
       .min = 0,
       .max = 1},
      {.name = "quantile_outlier_prob",
       .help = "Algorithms mean_quantile (of a sample's values) and mean_no_outliers (of samples): "
               "share that is ignored at each end",
       .in = option_in<&C::quantile_outlier_prob>,
       .min = 0,
       .max = 0.5},
      {.name = "num_quantized_bins",
       .help = "Algorithm kl: levels of the quantized histogram; 0: those that the type has for it",
       .in = option_in<&C::num_quantized_bins>,
       .min = 0,
       .max = 1024},
      white_list_option("Operator types and node names (exact or glob) to quantize; * means all"),
  };
  return kFields;
}

}  // namespace octavo
