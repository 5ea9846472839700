// What autotune searches for, among what, and when it stops.
#pragma once

#include "core/config/recipe.h"

namespace octavo {

/// Names and defaults are Neural Compressor's; those of its 2.x line where 3.x dropped them.
struct TuningConfig : ConfigBase {
  static std::span<const OptionDef> fields();

  /// Recipes to try, each a whole pipeline. Empty: the strategy chooses them all.
  std::vector<Recipe> config_set;

  std::string strategy = "auto";
  std::string sampler = "sequential";
  double tolerable_loss = 0.01;
  std::string criterion = "relative";
  bool higher_is_better = true;
  int64_t max_trials = 100;
  double timeout = 0;  // seconds
  bool stop_at_first = true;
  std::vector<std::string> objective = {"latency"};
  std::vector<std::string> fallback_dtypes = {"fp32"};
  int64_t confidence_batches = 2;
  int64_t seed = 1978;

  /// Errors kInvalidArgument: an option's value, or a recipe's.
  Status validate() const;
  /// An object of the options and "config_set", an array of recipes. In those an option whose value
  /// is a list of values stands for a recipe each (their product, the last varying fastest).
  /// Unknown names are errors that suggest the nearest.
  static Result<TuningConfig> from_json(std::string_view json);
  std::string to_json() const;
};

/// JSON schema (draft 2020-12) of what TuningConfig::from_json reads.
std::string tuning_schema();

/// One weighted part of an objective.
struct Objective {
  enum class Kind : uint8_t { kAccuracy, kLatency, kSize, kMemory };
  Kind kind = Kind::kLatency;
  double weight = 1;
};
/// "latency" or "latency=0.7". Error kInvalidArgument naming the choices.
Result<std::vector<Objective>> parse_objectives(std::span<const std::string> texts);

}  // namespace octavo
