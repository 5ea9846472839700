// JSON of configs and recipes; for .cc files only.
#pragma once

#include "core/config/option.h"
#include <nlohmann/json.hpp>

namespace octavo {

struct Recipe;

using ConfigJson = nlohmann::ordered_json;

inline constexpr const char* kJsonSchema = "https://json-schema.org/draft/2020-12/schema";

/// Errors kInvalidArgument: no valid JSON, or nested too deep.
Result<ConfigJson> parse_config_json(std::string_view text);
/// What stands behind a stage's name: {"global": ..., "local": ...} or a bare object of options.
Status read_config_body(const ConfigJson& body, ConfigView& view);
ConfigJson config_body(const ConfigView& view);
/// What Recipe::to_json writes, without the options that stand at their defaults.
ConfigJson brief_recipe_json(const Recipe& recipe);
std::string dump_config_json(const ConfigJson& json);
/// JSON schema of an object of options; `is_local`: those that hold for single nodes.
ConfigJson options_schema(const ConfigView& view, bool is_local);

}  // namespace octavo
