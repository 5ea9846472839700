// The recipes among which strategies choose.
#include <algorithm>

#include "core/quantization/annotate.h"
#include "core/tuning/strategy.h"

namespace octavo {
namespace {

bool allows(const OptionDef& option, const std::string& value) {
  return option.choices.empty() ||
         std::ranges::any_of(option.choices, [&](const char* c) { return value == c; });
}

/// The values of a static_quant option that tuning tries, the base's own first.
std::vector<std::string> values_of(const StaticQuantConfig& base, const char* name) {
  StaticQuantConfig copy = base;
  const ConfigView view = copy.view();
  const OptionDef* option = find_option(view.fields, name);
  if (option == nullptr) return {};
  std::vector<std::string> values = {option_text(*option, *view.config)};
  const auto add = [&](const std::string& value) {
    if (!std::ranges::contains(values, value)) values.push_back(value);
  };
  if (std::holds_alternative<bool*>(option->in(*view.config))) {
    add("true");
    add("false");
  }
  for (const char* choice : option->choices) add(choice);
  return values;
}

/// In the order in which Neural Compressor varies them.
constexpr const char* kTypeWiseOptions[] = {"act_sym",    "act_algorithm",    "act_granularity",
                                            "weight_sym", "weight_algorithm", "weight_granularity"};

StaticQuantConfig* static_stage(Recipe& recipe) {
  for (QuantConfig& stage : recipe.stages) {
    if (auto* config = std::get_if<StaticQuantConfig>(&stage)) return config;
  }
  return nullptr;
}

/// Sets options for one operator in every stage that has all of them with these values.
bool set_op(Recipe& recipe, const std::string& op, const OpChoice& choice) {
  bool any = false;
  for (QuantConfig& stage : recipe.stages) {
    ConfigView view = config_view(stage);
    const bool fits = std::ranges::all_of(choice, [&](const auto& setting) {
      const OptionDef* option = find_option(view.fields, setting.first);
      return option != nullptr && option->in_local && allows(*option, setting.second);
    });
    if (!fits) continue;
    ConfigBase& local = view.add_local(op);
    for (const auto& [name, value] : choice) {
      // Valid by what was checked above.
      any = set_option(*find_option(view.fields, name), local, value).has_value() || any;
    }
  }
  return any;
}

}  // namespace

Recipe default_recipe(const TuningConfig& config) {
  if (!config.config_set.empty()) return config.config_set.front();
  return StaticQuantConfig();
}

Result<std::vector<TunableOp>> tunable_ops(const Model& model, const TuningConfig& config) {
  const StaticQuantConfig defaults;
  OCTAVO_ASSIGN(const Annotation annotation, annotate(model.graph(), defaults));
  std::vector<TunableOp> ops;
  for (size_t n = 0; n < annotation.nodes.size(); ++n) {
    const Node& node = model.graph().nodes[n];
    const OpDef* op = find_op(node.kind);
    if (!annotation.nodes[n].quantized || node.name.empty() || op == nullptr) continue;
    // Same-scale operators and tables follow their neighbours.
    const bool computes = op->quant.policy == QuantPolicy::kCompute;
    if (!computes && op->quant.policy != QuantPolicy::kRequantize) continue;
    if (!config.allows(node.name, op->name)) continue;
    ops.push_back({.name = node.name, .type = op->name, .computes = computes});
  }
  return ops;
}

std::vector<Recipe> type_wise_recipes(const Recipe& base) {
  std::vector<Recipe> recipes = {base};
  for (const char* name : kTypeWiseOptions) {
    std::vector<Recipe> next;
    for (const Recipe& recipe : recipes) {
      Recipe copy = recipe;
      StaticQuantConfig* stage = static_stage(copy);
      if (stage == nullptr) return recipes;
      for (const std::string& value : values_of(*stage, name)) {
        const ConfigView view = stage->view();
        if (set_option(*find_option(view.fields, name), *view.config, value)) next.push_back(copy);
      }
    }
    if (!next.empty()) recipes = std::move(next);
  }
  return recipes;
}

std::vector<Recipe> calibration_recipes(const Recipe& base) {
  Recipe copy = base;
  StaticQuantConfig* stage = static_stage(copy);
  if (stage == nullptr) return {};
  std::vector<Recipe> recipes;
  const std::vector<std::string> algorithms = values_of(*stage, "act_algorithm");
  for (const std::string& algorithm : std::span(algorithms).subspan(1)) {
    stage->act_algorithm = algorithm;
    recipes.push_back(copy);
  }
  return recipes;
}

Recipe with_fallback(Recipe recipe, std::span<const std::string> ops, const std::string& dtype) {
  for (const std::string& op : ops) {
    set_op(recipe, op, {{"act_dtype", dtype}, {"weight_dtype", dtype}});
  }
  return recipe;
}

std::string describe_recipe(const Recipe& recipe, const Recipe& base) {
  std::string stages, changes;
  Recipe a = recipe, b = base;
  bool same_stages = a.stages.size() == b.stages.size();
  for (size_t i = 0; i < a.stages.size(); ++i) {
    const ConfigView view = config_view(a.stages[i]);
    stages += concat(stages.empty() ? "" : " + ", view.name);
    same_stages = same_stages && a.stages[i].index() == b.stages[i].index();
    QuantConfig of_base = all_configs()[a.stages[i].index()];
    if (same_stages) of_base = b.stages[i];
    const ConfigView other = config_view(of_base);
    for (const OptionDef& option : view.fields) {
      const std::string value = option_text(option, *view.config);
      if (value == option_text(option, *other.config)) continue;
      changes += concat(changes.empty() ? "" : ", ", option.name, " ", value);
    }
  }
  if (!same_stages) return changes.empty() ? stages : concat(stages, ": ", changes);
  return changes.empty() ? "default" : changes;
}

std::vector<OpChoice> op_choices(bool with_float) {
  const StaticQuantConfig base;
  std::vector<OpChoice> choices;
  for (const char* granularity : {"per_channel", "per_tensor"}) {
    for (const std::string& algorithm : values_of(base, "act_algorithm")) {
      for (const char* sym : {"true", "false"}) {
        choices.push_back(
            {{"weight_granularity", granularity}, {"act_algorithm", algorithm}, {"act_sym", sym}});
      }
    }
  }
  if (with_float) choices.push_back({{"act_dtype", "fp32"}, {"weight_dtype", "fp32"}});
  return choices;
}

Recipe with_choice(Recipe recipe, const std::string& op, const OpChoice& choice) {
  set_op(recipe, op, choice);
  return recipe;
}

std::vector<Candidate> recipe_variants(const TuningContext& context, const Recipe& base) {
  std::vector<Candidate> variants;
  std::vector<std::string> computing;
  for (const TunableOp& op : context.ops) {
    if (op.computes) computing.push_back(op.name);
  }
  const auto without = [&](std::vector<std::string> ops, const std::string& description) {
    for (const std::string& dtype : context.config.fallback_dtypes) {
      variants.push_back(
          {with_fallback(base, ops, dtype), "recipes", concat(description, " in ", dtype)});
    }
  };
  if (computing.size() > 1) {
    without({computing.front()}, concat("first operator (", computing.front(), ")"));
    without({computing.back()}, concat("last operator (", computing.back(), ")"));
    // Pre- and post-processing: what stands before the first and after the last of them.
    std::vector<std::string> outside;
    bool inside = false;
    std::vector<std::string> since;
    for (const TunableOp& op : context.ops) {
      if (op.computes) {
        if (!inside) outside = since;
        inside = true;
        since.clear();
      } else {
        since.push_back(op.name);
      }
    }
    outside.insert(outside.end(), since.begin(), since.end());
    if (!outside.empty()) without(outside, "pre- and post-processing");
  }
  return variants;
}

}  // namespace octavo
