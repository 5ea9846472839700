// SmoothQuant (Xiao et al. 2022): moves the difficulty of activations with uneven channels into the
// weights. A stage before static or dynamic quantization.
#pragma once

#include "core/config/option.h"

namespace octavo {

struct SmoothQuantConfig : Config<SmoothQuantConfig> {
  static constexpr const char* kName = "smooth_quant";
  static std::span<const OptionDef> fields();
  SmoothQuantConfig() { white_list = {"MatMul", "Gemm", "Conv"}; }

  std::optional<double> alpha = 0.5;  // none: "auto"
  bool folding = true;
  double alpha_min = 0.3;
  double alpha_max = 0.7;
  double alpha_step = 0.05;
  std::string shared_criterion = "mean";
};

}  // namespace octavo
