// The options of learned rounding (core/quantization/adaround.h), which several configs have.
#pragma once

#include "core/config/option.h"

namespace octavo {

template <class Base>
struct RoundingOptions : Base {
  int64_t rounding_iters = 500;
  double rounding_lr = 0.02;
  double rounding_reg = 5;
  double rounding_beta_start = 20;
  double rounding_beta_end = 2;
  double rounding_warm_up = 0.2;
};

/// Those options of config C.
template <class C>
std::vector<OptionDef> rounding_options() {
  return {
      {.name = "rounding_iters",
       .help = "adaround: steps of Adam, each over all calibration samples",
       .in = option_in<&C::rounding_iters>,
       .min = 1,
       .max = 100000},
      {.name = "rounding_lr",
       .help = "adaround: Adam's learning rate",
       .in = option_in<&C::rounding_lr>,
       .min = 1e-6,
       .max = 1},
      {.name = "rounding_reg",
       .help = "adaround: weight of the regularizer that makes each choice plain; 1: as much as a "
               "weight that is off by a step",
       .in = option_in<&C::rounding_reg>,
       .min = 0,
       .max = 1000},
      {.name = "rounding_beta_start",
       .help = "adaround: the regularizer's power at first",
       .in = option_in<&C::rounding_beta_start>,
       .min = 1,
       .max = 100},
      {.name = "rounding_beta_end",
       .help = "adaround: the regularizer's power in the end",
       .in = option_in<&C::rounding_beta_end>,
       .min = 1,
       .max = 100},
      {.name = "rounding_warm_up",
       .help = "adaround: share of the steps without the regularizer",
       .in = option_in<&C::rounding_warm_up>,
       .min = 0,
       .max = 1},
  };
}

}  // namespace octavo
