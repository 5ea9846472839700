#include "core/config/recipe.h"

#include <cmath>
#include <utility>

#include "core/config/config_json.h"

namespace octavo {
namespace {

using Json = ConfigJson;

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const QuantConfig& config : all_configs()) names.emplace_back(stage_name(config));
  return names;
}

// {"name": {...}} as against the options of static quantization.
bool has_stages(const Json& object) {
  return !object.empty() && object.begin()->is_object() && object.begin().key() != "global" &&
         object.begin().key() != "local";
}

Status read_stage(std::string_view name, const Json& body, std::vector<QuantConfig>& stages) {
  for (QuantConfig& config : all_configs()) {
    if (name != stage_name(config)) continue;
    ConfigView view = config_view(config);
    OCTAVO_TRY(read_config_body(body, view));
    stages.push_back(std::move(config));
    return {};
  }
  return fail(ErrorCode::kInvalidArgument, "recipe: there is no stage '", name, "'",
              did_you_mean(name, stage_names()));
}

Status read_stages(const Json& object, std::vector<QuantConfig>& stages) {
  if (!object.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "recipe: a stage is an object {\"name\": {...}}, not ",
                object.type_name());
  }
  for (const auto& [name, body] : object.items()) OCTAVO_TRY(read_stage(name, body, stages));
  return {};
}

// One object if there is one stage, else an array of them; body_of(view): what stands behind its
// name.
Json recipe_json(const Recipe& recipe, Json (*body_of)(const ConfigView& view)) {
  Json list = Json::array();
  for (QuantConfig stage : recipe.stages) {
    const ConfigView view = config_view(stage);
    list.push_back({{view.name, body_of(view)}});
  }
  return list.size() == 1 ? list[0] : list;
}

// Local entries stay whole: what they leave out is the global value, not the default.
Json brief_config_body(const ConfigView& view) {
  Json body = config_body(view);
  for (QuantConfig& config : all_configs()) {
    if (stage_name(config) != std::string_view(view.name)) continue;
    const Json defaults = config_body(config_view(config))["global"];
    for (const auto& [option, value] : defaults.items()) {
      if (body["global"][option] == value) body["global"].erase(option);
    }
  }
  for (const char* part : {"global", "local"}) {
    if (body[part].empty()) body.erase(part);
  }
  return body;
}

struct SchemaWriter {
  const OptionDef& option;

  Json operator()(const std::string*) const {
    Json schema = {{"type", "string"}};
    if (!option.choices.empty()) schema["enum"] = option.choices;
    return schema;
  }
  Json operator()(const bool*) const { return {{"type", "boolean"}}; }
  Json operator()(const int64_t*) const { return bounded({{"type", "integer"}}); }
  Json operator()(const double*) const { return bounded({{"type", "number"}}); }
  Json operator()(const std::optional<double>*) const {
    return {{"anyOf", {bounded({{"type", "number"}}), {{"const", "auto"}}}}};
  }
  Json operator()(const std::vector<std::string>*) const {
    return {{"type", "array"}, {"items", {{"type", "string"}}}};
  }

 private:
  Json bounded(Json schema) const {
    if (std::isfinite(option.min)) schema["minimum"] = option.min;
    if (std::isfinite(option.max)) schema["maximum"] = option.max;
    return schema;
  }
};

}  // namespace

Json options_schema(const ConfigView& view, bool is_local) {
  Json properties = Json::object();
  const Json defaults = config_body(view)["global"];
  for (const OptionDef& option : view.fields) {
    if (is_local && !option.in_local) continue;
    Json schema = std::visit(SchemaWriter{option}, option.in(*view.config));
    schema["description"] = option.help;
    if (!is_local) schema["default"] = defaults[option.name];
    properties[option.name] = std::move(schema);
  }
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

const char* stage_name(const QuantConfig& config) {
  return std::visit([](const auto& c) { return std::decay_t<decltype(c)>::kName; }, config);
}

std::vector<QuantConfig> all_configs() {
  return []<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return std::vector<QuantConfig>{QuantConfig(std::in_place_index<kIndex>)...};
  }(std::make_index_sequence<std::variant_size_v<QuantConfig>>());
}

Status Recipe::validate() const {
  if (stages.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the recipe has no stages; add a configuration");
  }
  for (const QuantConfig& stage : stages) {
    OCTAVO_TRY(std::visit([](const auto& config) { return config.validate(); }, stage));
  }
  return {};
}

Result<Recipe> Recipe::from_json(std::string_view text) {
  OCTAVO_ASSIGN(const Json json, parse_config_json(text));
  std::vector<QuantConfig> stages;
  if (json.is_array()) {
    for (const Json& item : json) OCTAVO_TRY(read_stages(item, stages));
  } else if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "recipe: expected a JSON object or array, not ",
                json.type_name());
  } else if (has_stages(json)) {
    OCTAVO_TRY(read_stages(json, stages));
  } else {
    OCTAVO_TRY(read_stage(StaticQuantConfig::kName, json, stages));
  }
  Recipe recipe(std::move(stages));
  OCTAVO_TRY(recipe.validate());
  return recipe;
}

std::string Recipe::to_json() const { return dump_config_json(recipe_json(*this, config_body)); }

ConfigJson brief_recipe_json(const Recipe& recipe) {
  return recipe_json(recipe, brief_config_body);
}

std::string recipe_schema() {
  Json stages = Json::object();
  for (QuantConfig& config : all_configs()) {
    const ConfigView view = config_view(config);
    const Json global = options_schema(view, false);
    const Json nested = {
        {"type", "object"},
        {"properties",
         {{"global", global},
          {"local", {{"type", "object"}, {"additionalProperties", options_schema(view, true)}}}}},
        {"additionalProperties", false}};
    stages[view.name] = {{"anyOf", {nested, global}}};
  }
  const Json stage = {{"type", "object"}, {"properties", stages}, {"additionalProperties", false}};
  return dump_config_json({{"$schema", kJsonSchema},
                           {"title", "Octavo recipe"},
                           {"anyOf", {{{"type", "array"}, {"items", stage}}, stage}}});
}

}  // namespace octavo
