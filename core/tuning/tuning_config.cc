#include "core/tuning/tuning_config.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/config/config_json.h"

namespace octavo {
namespace {

using Json = ConfigJson;

constexpr size_t kMaxExpanded = 10000;  // recipes of one config_set

ConfigView tuning_view(TuningConfig& config) {
  return {.name = "tuning", .fields = TuningConfig::fields(), .config = &config};
}

// Options whose value is a list anyway.
bool is_list_option(const std::string& name) {
  for (QuantConfig config : all_configs()) {
    const ConfigView view = config_view(config);
    for (const OptionDef& option : view.fields) {
      if (name == option.name) {
        return std::holds_alternative<std::vector<std::string>*>(option.in(*view.config));
      }
    }
  }
  return false;
}

// The first option that has a list where a single value belongs; nullptr if there is none.
Json* find_list(Json& node) {
  if (!node.is_structured()) return nullptr;
  for (const auto& item : node.items()) {
    Json& value = item.value();
    const bool is_option = node.is_object();
    if (is_option && is_list_option(item.key())) continue;
    if (is_option && value.is_array() && !value.empty() && !value[0].is_object()) return &value;
    if (Json* found = find_list(value)) return found;
  }
  return nullptr;
}

// The recipes that one with lists of values stands for.
Status expand(Json recipe, std::vector<Json>& out) {
  Json* list = find_list(recipe);
  if (list == nullptr) {
    if (out.size() >= kMaxExpanded) {
      return fail(ErrorCode::kInvalidArgument, "config_set stands for more than ", kMaxExpanded,
                  " recipes; list fewer values");
    }
    out.push_back(std::move(recipe));
    return {};
  }
  const Json values = std::move(*list);
  for (const Json& value : values) {
    *list = value;
    OCTAVO_TRY(expand(recipe, out));
  }
  return {};
}

}  // namespace

std::span<const OptionDef> TuningConfig::fields() {
  using C = TuningConfig;
  static const std::vector<OptionDef> kFields = {
      {.name = "strategy",
       .help = "How recipes are chosen; auto: config_set if there is one, else the default recipe, "
               "conservative and basic one after another",
       .in = option_in<&C::strategy>,
       .choices = {"auto", "basic", "conservative", "mse", "mse_v2", "hawq_v2", "bayesian",
                   "exhaustive", "random", "tpe"}},
      {.name = "sampler",
       .help = "Order in which config_set is tried",
       .in = option_in<&C::sampler>,
       .choices = {"sequential", "random"}},
      {.name = "tolerable_loss",
       .help = "Loss of accuracy that is accepted: a share of the float model's (relative) or a "
               "difference (absolute); negative asks for a gain",
       .in = option_in<&C::tolerable_loss>},
      {.name = "criterion",
       .help = "What tolerable_loss is measured in",
       .in = option_in<&C::criterion>,
       .choices = {"relative", "absolute"}},
      {.name = "higher_is_better",
       .help = "False for errors, perplexities and other measures to keep low",
       .in = option_in<&C::higher_is_better>},
      {.name = "max_trials",
       .help = "Recipes evaluated at most",
       .in = option_in<&C::max_trials>,
       .min = 1},
      {.name = "timeout",
       .help = "Seconds after which no further trial is begun; 0: none",
       .in = option_in<&C::timeout>,
       .min = 0},
      {.name = "stop_at_first",
       .help = "Stop at the first recipe that holds the accuracy; false: use the whole budget and "
               "take the best by the objective",
       .in = option_in<&C::stop_at_first>},
      {.name = "objective",
       .help =
           "What is best among recipes that hold the accuracy: accuracy, latency, size, memory, "
           "each perhaps with =WEIGHT",
       .in = option_in<&C::objective>},
      {.name = "fallback_dtypes",
       .help = "Types tried in this order for operators that are not quantized: bf16, fp16, fp32",
       .in = option_in<&C::fallback_dtypes>},
      {.name = "confidence_batches",
       .help = "Calibration samples on which mse, mse_v2 and hawq_v2 judge operators",
       .in = option_in<&C::confidence_batches>,
       .min = 1,
       .max = 1024},
      {.name = "seed", .help = "Of random, tpe, bayesian and hawq_v2", .in = option_in<&C::seed>},
      white_list_option("Operator types and node names that strategies may leave float or vary; * "
                        "means all"),
  };
  return kFields;
}

Result<std::vector<Objective>> parse_objectives(std::span<const std::string> texts) {
  static constexpr const char* kNames[] = {"accuracy", "latency", "size", "memory"};
  std::vector<Objective> list;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    const auto found =
        std::ranges::find(kNames, name, [](const char* n) { return std::string(n); });
    if (found == std::end(kNames)) {
      const std::vector<std::string> names(std::begin(kNames), std::end(kNames));
      return fail(ErrorCode::kInvalidArgument, "there is no objective '", name,
                  "'; use accuracy, latency, size or memory", did_you_mean(name, names));
    }
    Objective objective{.kind = static_cast<Objective::Kind>(found - std::begin(kNames))};
    if (equals != std::string::npos) {
      const std::string weight = text.substr(equals + 1);
      char* end = nullptr;
      objective.weight = std::strtod(weight.c_str(), &end);
      if (weight.empty() || *end != '\0' || !(objective.weight >= 0) ||
          !std::isfinite(objective.weight)) {
        return fail(ErrorCode::kInvalidArgument, "objective '", text,
                    "': the weight is a number of at least 0");
      }
    }
    list.push_back(objective);
  }
  if (list.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "there is no objective; use accuracy, latency, size or memory");
  }
  return list;
}

Status TuningConfig::validate() const {
  TuningConfig copy = *this;
  OCTAVO_TRY(validate_config(tuning_view(copy)));
  if (const auto parsed = parse_objectives(objective); !parsed) {
    return std::unexpected(parsed.error());
  }
  if (fallback_dtypes.empty()) {
    return fail(ErrorCode::kInvalidArgument, "fallback_dtypes is empty; use fp32");
  }
  for (const std::string& dtype : fallback_dtypes) {
    if (dtype == "fp32" || dtype == "bf16" || dtype == "fp16") continue;
    return fail(ErrorCode::kInvalidArgument, "fallback_dtypes: '", dtype,
                "' is not one of 'bf16', 'fp16', 'fp32'");
  }
  for (const Recipe& recipe : config_set) OCTAVO_TRY(recipe.validate());
  return {};
}

Result<TuningConfig> TuningConfig::from_json(std::string_view text) {
  OCTAVO_ASSIGN(Json json, parse_config_json(text));
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "tuning: expected a JSON object, not ",
                json.type_name());
  }
  TuningConfig config;
  if (json.contains("config_set")) {
    const Json set =
        json["config_set"].is_array() ? json["config_set"] : Json::array({json["config_set"]});
    std::vector<Json> recipes;
    for (const Json& recipe : set) OCTAVO_TRY(expand(recipe, recipes));
    for (const Json& recipe : recipes) {
      OCTAVO_ASSIGN(Recipe made,
                    Recipe::from_json(recipe.dump(-1, ' ', false, Json::error_handler_t::replace)));
      config.config_set.push_back(std::move(made));
    }
    json.erase("config_set");
  }
  for (const char* key : {"global", "local"}) {
    if (json.contains(key)) {
      return fail(ErrorCode::kInvalidArgument, "tuning: there is no option '", key, "'");
    }
  }
  ConfigView view = tuning_view(config);
  OCTAVO_TRY(read_config_body(json, view));
  OCTAVO_TRY(config.validate());
  return config;
}

std::string TuningConfig::to_json() const {
  TuningConfig copy = *this;
  Json json = config_body(tuning_view(copy))["global"];
  Json set = Json::array();
  for (const Recipe& recipe : config_set) {
    set.push_back(Json::parse(recipe.to_json(), nullptr, false));
  }
  if (!set.empty()) json["config_set"] = std::move(set);
  return dump_config_json(json);
}

std::string tuning_schema() {
  TuningConfig defaults;
  Json schema = {{"$schema", kJsonSchema}, {"title", "Octavo tuning"}};
  schema.update(options_schema(tuning_view(defaults), false));
  schema["properties"]["config_set"] = {
      {"type", "array"},
      {"description",
       "Recipes to try; an option that has a list of values stands for a recipe each"}};
  return dump_config_json(schema);
}

}  // namespace octavo
