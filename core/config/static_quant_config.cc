#include "core/config/static_quant_config.h"

namespace octavo {
namespace {

std::vector<OptionDef> with_rounding(std::vector<OptionDef> fields) {
  for (OptionDef& option : rounding_options<StaticQuantConfig>()) {
    fields.push_back(std::move(option));
  }
  fields.push_back(
      white_list_option("Operator types and node names (exact or glob) to quantize; * means all"));
  return fields;
}

}  // namespace

std::span<const OptionDef> StaticQuantConfig::fields() {
  using C = StaticQuantConfig;
  static const std::vector<OptionDef> kFields = with_rounding({
      {.name = "scheme",
       .help = "Another toolkit's formulas: decides types, symmetry, narrow and reduced ranges; "
               "custom: the options do",
       .in = option_in<&C::scheme>,
       .choices = {"custom", "tensorflow", "pytorch", "ipex", "mxnet", "onnxruntime", "tflite"}},
      {.name = "weight_dtype",
       .help = "Type of quantized weights; fp32 leaves the operator float",
       .in = option_in<&C::weight_dtype>,
       .choices = {"int8", "uint8", "int16", "uint16", "int4", "uint4", "bf16", "fp32"}},
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
      {.name = "narrow_range",
       .help = "Symmetric int8 weights go from -127 to 127; false: the range's ends become 127.5 "
               "and -127.5, as in PyTorch",
       .in = option_in<&C::narrow_range>},
      {.name = "reduce_range",
       .help = "Weights have 7 bits, for processors without VNNI, whose 16-bit sums overflow",
       .in = option_in<&C::reduce_range>},
      {.name = "overflow_fix",
       .help = "The same only for output channels whose sums can overflow, given the calibrated "
               "activations, and only as far as that takes",
       .in = option_in<&C::overflow_fix>},
      {.name = "act_dtype",
       .help = "Type of quantized activations (other than 8 bits compute in float32); fp32 leaves "
               "the operator float",
       .in = option_in<&C::act_dtype>,
       .choices = {"int8", "uint8", "int16", "uint16", "int4", "uint4", "bf16", "fp32"}},
      {.name = "act_sym",
       .help = "Activations' range is symmetric around zero, or from zero if never negative; "
               "inputs' is not. Symmetric 8-bit activations are stored as uint8",
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
      {.name = "act_reduce_range",
       .help = "Activations have 7 bits, as in PyTorch for the same processors",
       .in = option_in<&C::act_reduce_range>},
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
      {.name = "io_dtype",
       .help = "Type of the model's inputs and outputs; of integers, that of its activations",
       .in = option_in<&C::io_dtype>,
       .choices = {"fp32", "int8", "uint8", "int16", "uint16"},
       .in_local = false},
      {.name = "integer_only",
       .help = "Operators that would stay float are an error that lists them",
       .in = option_in<&C::integer_only>,
       .in_local = false},
      {.name = "first_conv_or_matmul_quantization",
       .help = "Quantize the model's first layer too",
       .in = option_in<&C::first_conv_or_matmul_quantization>,
       .in_local = false},
      {.name = "last_conv_or_matmul_quantization",
       .help = "Quantize the model's last layer too",
       .in = option_in<&C::last_conv_or_matmul_quantization>,
       .in_local = false},
      {.name = "max_concat_ratio",
       .help = "A Concat whose inputs' ranges differ by more stays float, and what reads it (boxes "
               "beside scores, say); 0: never",
       .in = option_in<&C::max_concat_ratio>,
       .min = 0,
       .max = 1e9},
      {.name = "equalization",
       .help = "Scales channels between layers so that they use the integers evenly: cross_layer "
               "for weights with one scale, channels for activations around weights with one per "
               "channel; auto: by weight_granularity",
       .in = option_in<&C::equalization>,
       .choices = {"auto", "none", "cross_layer", "channels"},
       .in_local = false},
      {.name = "bias_absorption",
       .help = "With cross-layer equalization: what channels are always above zero by goes from "
               "their layer's bias into those of the layers behind",
       .in = option_in<&C::bias_absorption>,
       .in_local = false},
      {.name = "absorption_deviations",
       .help = "bias_absorption: always means so many standard deviations below the mean",
       .in = option_in<&C::absorption_deviations>,
       .min = 0,
       .max = 100,
       .in_local = false},
      {.name = "bias_correction",
       .help = "Takes the shift that rounded weights cause in the mean from the biases",
       .in = option_in<&C::bias_correction>,
       .in_local = false},
      {.name = "rounding",
       .help = "How weights are rounded: to the nearest integer, or adaround: learned such that "
               "each layer's output stays near the float one's",
       .in = option_in<&C::rounding>,
       .choices = {"nearest", "adaround"}},
  });
  return kFields;
}

namespace {

struct Scheme {
  const char* name;
  const char* act_dtype;
  bool act_sym, narrow_range, act_reduce_range;
};
// Weights are symmetric int8 in all of them.
constexpr Scheme kSchemes[] = {
    {"tensorflow", "int8", true, true, false},    {"mxnet", "int8", true, true, false},
    {"pytorch", "uint8", false, false, true},     {"ipex", "uint8", false, false, false},
    {"onnxruntime", "uint8", false, true, false}, {"tflite", "int8", false, true, false},
};

void apply_to(StaticQuantConfig& config) {
  for (const Scheme& scheme : kSchemes) {
    if (config.scheme != scheme.name) continue;
    config.weight_sym = true;
    config.reduce_range = false;
    config.act_sym = scheme.act_sym;
    config.narrow_range = scheme.narrow_range;
    config.act_reduce_range = scheme.act_reduce_range;
    // fp32 and bf16 leave an operator to others.
    if (config.weight_dtype == "uint8") config.weight_dtype = "int8";
    if (config.act_dtype.ends_with("int8")) config.act_dtype = scheme.act_dtype;
    // TFLite's 16-bit activations are symmetric.
    if (config.scheme == "tflite" && config.act_dtype == "int16") config.act_sym = true;
  }
}

}  // namespace

std::string_view equalization_of(const StaticQuantConfig& config) {
  if (config.equalization != "auto") return config.equalization;
  return config.weight_granularity == "per_channel" ? "channels" : "cross_layer";
}

void apply_scheme(StaticQuantConfig& config) {
  apply_to(config);
  for (auto& entry : config.local) apply_to(entry.config);
}

}  // namespace octavo
