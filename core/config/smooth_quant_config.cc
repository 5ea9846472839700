#include "core/config/smooth_quant_config.h"

namespace octavo {

std::span<const OptionDef> SmoothQuantConfig::fields() {
  using C = SmoothQuantConfig;
  static const std::vector<OptionDef> kFields = {
      {.name = "alpha",
       .help = "How much of the activations' unevenness goes into the weights, 0 to 1; auto: "
               "searched for each input",
       .in = option_in<&C::alpha>,
       .min = 0,
       .max = 1},
      {.name = "folding",
       .help = "Divides activations in the layer that computes them where possible; else, and if "
               "false, "
               "by a Mul",
       .in = option_in<&C::folding>,
       .in_local = false},
      {.name = "alpha_min",
       .help = "alpha auto: the smallest",
       .in = option_in<&C::alpha_min>,
       .min = 0,
       .max = 1},
      {.name = "alpha_max",
       .help = "alpha auto: the largest",
       .in = option_in<&C::alpha_max>,
       .min = 0,
       .max = 1},
      {.name = "alpha_step",
       .help = "alpha auto: from one to the next",
       .in = option_in<&C::alpha_step>,
       .min = 0.001,
       .max = 1},
      {.name = "shared_criterion",
       .help = "alpha auto: what is made small where several layers read an input",
       .in = option_in<&C::shared_criterion>,
       .choices = {"mean", "min", "max"}},
      white_list_option("Operator types and node names (exact or glob) to smooth; * means all"),
  };
  return kFields;
}

}  // namespace octavo
