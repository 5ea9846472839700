#include "core/config/weight_only_config.h"

namespace octavo {
namespace {

// The common options, then those of one algorithm.
template <class C>
std::vector<OptionDef> with_common(std::vector<OptionDef> own) {
  std::vector<OptionDef> fields = {
      {.name = "weight_bits",
       .help =
           "Bits of a weight: 8, 4, 2 (symmetric: -1, 0, 1) or 1 (symmetric: -1, 1); fewer than "
           "4 are stored in 4",
       .in = option_in<&C::weight_bits>,
       .min = 1,
       .max = 8},
      {.name = "weight_group_size",
       .help = "Weights of one output that share a scale; -1: all of them",
       .in = option_in<&C::weight_group_size>,
       .min = -1,
       .max = 1 << 20},
      {.name = "weight_sym", .help = "Weights have no zero point", .in = option_in<&C::weight_sym>},
      {.name = "quant_last_matmul",
       .help = "Quantize the model's last layer too",
       .in = option_in<&C::quant_last_matmul>,
       .in_local = false},
      {.name = "quant_format",
       .help = "How ONNX files have the weights of MatMul and Gemm: behind DequantizeLinear, or in "
               "ONNX Runtime's MatMulNBits (groups of a multiple of 16, or whole outputs)",
       .in = option_in<&C::quant_format>,
       .choices = {"qdq", "matmulnbits"}},
  };
  for (OptionDef& option : own) fields.push_back(std::move(option));
  fields.push_back(
      white_list_option("Operator types and node names (exact or glob) to quantize; * means all"));
  return fields;
}

}  // namespace

std::span<const OptionDef> RTNConfig::fields() {
  static const std::vector<OptionDef> kFields = with_common<RTNConfig>({
      {.name = "mse",
       .help = "Narrows a group's range where that lessens its error",
       .in = option_in<&RTNConfig::mse>},
  });
  return kFields;
}

std::span<const OptionDef> GPTQConfig::fields() {
  using C = GPTQConfig;
  static const std::vector<OptionDef> kFields = with_common<C>({
      {.name = "percdamp",
       .help = "Share of its mean that is added to the Hessian's diagonal",
       .in = option_in<&C::percdamp>,
       .min = 1e-6,
       .max = 1},
      {.name = "actorder",
       .help = "Rounds the columns with the most active inputs first",
       .in = option_in<&C::actorder>},
      {.name = "mse",
       .help = "Narrows a group's range where that lessens its error",
       .in = option_in<&C::mse>},
  });
  return kFields;
}

std::span<const OptionDef> AWQConfig::fields() {
  using C = AWQConfig;
  static const std::vector<OptionDef> kFields = with_common<C>({
      {.name = "enable_auto_scale",
       .help = "Scales input channels by a power of their activations' magnitude, searched in 20 "
               "steps",
       .in = option_in<&C::enable_auto_scale>},
      {.name = "enable_mse_search",
       .help = "Narrows a group's range where that lessens the output's error",
       .in = option_in<&C::enable_mse_search>},
  });
  return kFields;
}

std::span<const OptionDef> HQQConfig::fields() {
  using C = HQQConfig;
  static const std::vector<OptionDef> kFields = with_common<C>({
      {.name = "lp_norm",
       .help = "The norm's power p: |error|^p is made small",
       .in = option_in<&C::lp_norm>,
       .min = 0.1,
       .max = 1},
      {.name = "beta",
       .help = "Weight of the quadratic term at the start",
       .in = option_in<&C::beta>,
       .min = 1e-3,
       .max = 1e6},
      {.name = "kappa",
       .help = "Factor of beta from step to step",
       .in = option_in<&C::kappa>,
       .min = 1,
       .max = 10},
      {.name = "iters", .help = "Steps", .in = option_in<&C::iters>, .min = 1, .max = 1000},
  });
  return kFields;
}

std::span<const OptionDef> AdaroundConfig::fields() {
  using C = AdaroundConfig;
  static const std::vector<OptionDef> kFields = [] {
    std::vector<OptionDef> own = rounding_options<C>();
    own.push_back({.name = "mse",
                   .help = "Narrows a group's range where that lessens its error",
                   .in = option_in<&C::mse>});
    return with_common<C>(std::move(own));
  }();
  return kFields;
}

}  // namespace octavo
