// Quantization options, each listed once with its documentation: JSON, command-line flags and
// bindings are derived from `fields()`. Names and defaults are Neural Compressor's.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace octavo {

/// One option of a config struct: where it is, its values and what it means.
template <class Config>
struct OptionDef {
  const char* name;  // "weight_dtype"; the flag is --weight-dtype, in JavaScript weightDtype
  const char* help;
  std::string Config::* text = nullptr;  // exactly one of the three is set
  bool Config::* flag = nullptr;
  std::vector<std::string> Config::* list = nullptr;
  std::vector<const char*> choices = {};  // of a text option
};

struct LocalConfig;

struct StaticQuantConfig {
  std::string weight_dtype = "int8";
  bool weight_sym = true;
  std::string weight_granularity = "per_tensor";
  std::string weight_algorithm = "minmax";
  std::string act_dtype = "int8";
  bool act_sym = true;
  std::string act_granularity = "per_tensor";
  std::string act_algorithm = "minmax";
  /// Operator types or node names (exact or glob) to quantize; {"*"} means all, {} none.
  std::vector<std::string> white_list = {"*"};

  /// (exact name, glob or operator type) -> overrides; later ones win over earlier ones, names win
  /// over operator types.
  std::vector<LocalConfig> local;

  /// Overrides for the nodes that `name` matches: an exact node name, a glob (* and ?), or an
  /// operator type.
  StaticQuantConfig& set_local(const std::string& name, const StaticQuantConfig& config);
  StaticQuantConfig& set_local(std::span<const std::string> names,
                               const StaticQuantConfig& config) {
    for (const std::string& name : names) set_local(name, config);
    return *this;
  }

  /// The options that hold for a node: those of the last local entry with its exact name, else of
  /// the last glob that matches it, else of the last with its operator type, else *this.
  const StaticQuantConfig& resolve(std::string_view node_name, std::string_view op_type) const;
  /// Whether white_list names the node, its operator type, a glob that matches either, or "*".
  bool allows(std::string_view node_name, std::string_view op_type) const;

  static std::span<const OptionDef<StaticQuantConfig>> fields();
  /// Checks every option's value. The error names the option and its choices.
  Status validate() const;

  /// {"static_quant": {"global": {...}, "local": {"conv1": {...}}}}; a bare object of options is
  /// accepted too. Options that a local entry does not name are the global ones. Unknown keys are
  /// errors that suggest the nearest name.
  static Result<StaticQuantConfig> from_json(std::string_view json);
  std::string to_json() const;
};

struct LocalConfig {
  std::string pattern;
  StaticQuantConfig config;
};

inline StaticQuantConfig& StaticQuantConfig::set_local(const std::string& name,
                                                       const StaticQuantConfig& config) {
  local.push_back({name, config});
  return *this;
}

/// Shell-style match of the whole text: * any run of characters, ? any one.
bool glob_match(std::string_view pattern, std::string_view text);

/// The candidate nearest to `name` by edit distance, for "did you mean"; empty if none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace octavo
