// Weight-only quantization: integer weights in groups with a scale each, float activations.
#pragma once

#include "core/config/rounding_options.h"

namespace octavo {

/// What the algorithms have in common.
template <class C>
// NOLINTNEXTLINE(bugprone-crtp-constructor-accessibility): aggregates
struct WeightOnlyConfig : Config<C> {
  int64_t weight_bits = 4;
  int64_t weight_group_size = 32;
  bool weight_sym = true;
  bool quant_last_matmul = true;
  std::string quant_format = "qdq";
};

/// Round to nearest.
struct RTNConfig : WeightOnlyConfig<RTNConfig> {
  static constexpr const char* kName = "rtn";
  static std::span<const OptionDef> fields();
  bool mse = false;
};

/// Frantar et al. 2022: rounds column by column and makes up for each error in the columns after
/// it.
struct GPTQConfig : WeightOnlyConfig<GPTQConfig> {
  static constexpr const char* kName = "gptq";
  static std::span<const OptionDef> fields();
  double percdamp = 0.01;
  bool actorder = false;
  bool mse = false;
};

/// Lin et al. 2023: scales the input channels that matter before rounding.
struct AWQConfig : WeightOnlyConfig<AWQConfig> {
  static constexpr const char* kName = "awq";
  static std::span<const OptionDef> fields();
  bool enable_auto_scale = true;
  bool enable_mse_search = true;
};

/// Badri and Shaji 2023: chooses scales for the smallest error in a norm that forgives outliers.
struct HQQConfig : WeightOnlyConfig<HQQConfig> {
  static constexpr const char* kName = "hqq";
  static std::span<const OptionDef> fields();
  HQQConfig() { weight_sym = false; }
  double lp_norm = 0.7;
  double beta = 10;
  double kappa = 1.01;
  int64_t iters = 20;
};

/// Nagel et al. 2020: learns whether each weight is rounded up or down.
struct AdaroundConfig : RoundingOptions<WeightOnlyConfig<AdaroundConfig>> {
  static constexpr const char* kName = "adaround";
  static std::span<const OptionDef> fields();
  bool mse = false;
};

}  // namespace octavo
