// A recipe is an ordered pipeline of stages, each given by its config. A new kind of stage is one
// line in QuantConfig, a file with its config here, and a Stage in core/quantization.
#pragma once

#include <concepts>

#include "core/config/dynamic_quant_config.h"
#include "core/config/mixed_precision_config.h"
#include "core/config/smooth_quant_config.h"
#include "core/config/static_quant_config.h"
#include "core/config/weight_only_config.h"

namespace octavo {

using QuantConfig = std::variant<StaticQuantConfig,     //
                                 DynamicQuantConfig,    //
                                 SmoothQuantConfig,     //
                                 MixedPrecisionConfig,  //
                                 RTNConfig,             //
                                 GPTQConfig,            //
                                 AWQConfig,             //
                                 HQQConfig,             //
                                 AdaroundConfig>;

struct Recipe {
  /// Applied one after another. Default: static quantization.
  std::vector<QuantConfig> stages = {StaticQuantConfig()};

  Recipe() = default;
  Recipe(std::vector<QuantConfig> list) : stages(std::move(list)) {}
  template <class C>
    requires std::constructible_from<QuantConfig, C>
  Recipe(C&& config) : stages{QuantConfig(std::forward<C>(config))} {}

  /// Errors: kInvalidArgument (no stages, or a config's own).
  Status validate() const;
  /// [{"smooth_quant": {...}}, {"static_quant": {...}}]; one object {"static_quant": {...}} with
  /// its stages in order; or a bare object of static quantization's options. What stands behind a
  /// stage's name: see read_config. Unknown names are errors that suggest the nearest.
  static Result<Recipe> from_json(std::string_view json);
  /// One object if there is one stage, else an array of them.
  std::string to_json() const;
};

/// "static_quant": the name of a config's stage.
const char* stage_name(const QuantConfig& config);
/// A config of each kind, with its defaults, in the order of QuantConfig.
std::vector<QuantConfig> all_configs();
/// JSON schema (draft 2020-12) of what Recipe::from_json reads.
std::string recipe_schema();

/// The config behind the variant.
inline ConfigView config_view(QuantConfig& config) {
  return std::visit([](auto& c) { return c.view(); }, config);
}

}  // namespace octavo
