// What all configurations share. A config is a plain struct; `fields()` lists each of its options
// once with its documentation, and JSON, its schema, command-line flags and bindings are derived
// from that list. Names and defaults are Neural Compressor's where it has them.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/status.h"

namespace octavo {

/// The options that every config has.
struct ConfigBase {
  /// Operator types or node names (exact or glob) that the config is for; {"*"}: all, {}: none.
  std::vector<std::string> white_list = {"*"};

  /// Whether white_list names the node, its operator type, a glob that matches either, or "*".
  bool allows(std::string_view node_name, std::string_view op_type) const;
};

/// An option of one config object. An optional number may be "auto".
using OptionRef = std::variant<std::string*, bool*, int64_t*, double*, std::optional<double>*,
                               std::vector<std::string>*>;

/// One option of a config type.
struct OptionDef {
  const char* name;  // "weight_dtype"; the flag is --weight-dtype, in JavaScript weightDtype
  const char* help;
  OptionRef (*in)(ConfigBase& config);    // where it is: option_in<&C::weight_dtype>
  std::vector<const char*> choices = {};  // of a text option
  double min = -std::numeric_limits<double>::infinity();  // of a number
  double max = std::numeric_limits<double>::infinity();
  bool in_local = true;  // false: holds for the whole model, not for single nodes
};

namespace internal {
template <class C, class T>
C config_of(T C::*);
}

template <auto kMember>
OptionRef option_in(ConfigBase& config) {
  using C = decltype(internal::config_of(kMember));
  return &(static_cast<C&>(config).*kMember);
}
/// white_list, which every `fields()` ends with.
OptionDef white_list_option(const char* help);

/// A config of any type, for code that serves all.
struct ConfigView {
  const char* name;  // "static_quant": the stage's name in a recipe
  std::span<const OptionDef> fields;
  ConfigBase* config;
  std::vector<std::pair<std::string, ConfigBase*>> local;
  /// Appends a local config for the pattern, equal to *config.
  std::function<ConfigBase&(const std::string& pattern)> add_local;
};

/// Sets an option from text, as a command line has it ("true", "0.5", "Conv,MatMul", "auto").
/// Error kInvalidArgument if the text is no value of the option's type.
Status set_option(const OptionDef& option, ConfigBase& config, std::string_view text);
/// The inverse of set_option.
std::string option_text(const OptionDef& option, const ConfigBase& config);

/// Checks every option's value and the local configs. The error names the option and its choices.
Status validate_config(const ConfigView& view);
/// {"static_quant": {"global": {...}, "local": {"conv1": {...}}}}, {"global": ..., "local": ...} or
/// a bare object of options. Options that a local entry does not name are the global ones. Unknown
/// keys are errors that suggest the nearest name.
Status read_config(std::string_view json, ConfigView& view);
std::string write_config(const ConfigView& view);

/// How well a local pattern fits a node: 3 its exact name, 2 a glob, 1 its operator type, 0 not.
int match_rank(std::string_view pattern, std::string_view node_name, std::string_view op_type);

/// The base of each config type C, which has `static constexpr const char* kName` and
/// `static std::span<const OptionDef> fields()`.
template <class C>
struct Config : ConfigBase {  // NOLINT(bugprone-crtp-constructor-accessibility): aggregates
  struct Local {
    std::string pattern;
    C config;
  };
  /// (exact name, glob or operator type) -> overrides; later ones win over earlier ones, names win
  /// over globs, globs over operator types.
  std::vector<Local> local;

  /// Overrides for the nodes that `pattern` matches: an exact node name, a glob (* and ?), or an
  /// operator type.
  C& set_local(const std::string& pattern, const C& config) {
    local.push_back({pattern, config});
    return self();
  }
  C& set_local(std::span<const std::string> patterns, const C& config) {
    for (const std::string& pattern : patterns) set_local(pattern, config);
    return self();
  }

  /// The options that hold for a node: those of the last local entry with its exact name, else of
  /// the last glob that matches it, else of the last with its operator type, else *this.
  const C& resolve(std::string_view node_name, std::string_view op_type) const {
    const C* found = &static_cast<const C&>(*this);
    int best = 0;
    for (const auto& [pattern, config] : local) {
      const int rank = match_rank(pattern, node_name, op_type);
      if (rank == 0 || rank < best) continue;
      best = rank;
      found = &config;
    }
    return *found;
  }

  /// Error kInvalidArgument naming the option and its choices.
  Status validate() const {
    for (const auto& [pattern, config] : local) {
      if (config.local.empty()) continue;
      return fail(ErrorCode::kInvalidArgument, "the local configuration of '", pattern,
                  "' has local configurations of its own; set them on the outer one");
    }
    C copy = static_cast<const C&>(*this);
    return validate_config(copy.view());
  }
  /// Reads what read_config says. Errors: kInvalidArgument.
  static Result<C> from_json(std::string_view json) {
    C config;
    ConfigView view = config.view();
    OCTAVO_TRY(read_config(json, view));
    OCTAVO_TRY(config.validate());
    return config;
  }
  std::string to_json() const {
    C copy = static_cast<const C&>(*this);
    return write_config(copy.view());
  }

  ConfigView view() {
    ConfigView made{.name = C::kName, .fields = C::fields(), .config = this};
    for (Local& entry : local) made.local.emplace_back(entry.pattern, &entry.config);
    made.add_local = [this](const std::string& pattern) -> ConfigBase& {
      C copy = self();
      copy.local.clear();
      copy.white_list = {"*"};
      local.push_back({pattern, std::move(copy)});
      return local.back().config;
    };
    return made;
  }

 private:
  C& self() { return static_cast<C&>(*this); }
};

/// Shell-style match of the whole text: * any run of characters, ? any one.
bool glob_match(std::string_view pattern, std::string_view text);

/// The option of that name, or null.
const OptionDef* find_option(std::span<const OptionDef> fields, std::string_view name);

/// The candidate nearest to `name` by edit distance; empty if none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);
/// "; did you mean 'x'?" with the nearest name, or nothing.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace octavo
