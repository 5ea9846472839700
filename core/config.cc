#include "core/config.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;
using Option = OptionDef<StaticQuantConfig>;

constexpr int kMaxJsonDepth = 16;
constexpr const char* kStageName = "static_quant";

const std::vector<Option>& options() {
  using C = StaticQuantConfig;
  static const std::vector<Option> kOptions = {
      {.name = "weight_dtype",
       .help = "Type of quantized weights; fp32 leaves the operator float",
       .text = &C::weight_dtype,
       .choices = {"int8", "uint8", "bf16", "fp32"}},
      {.name = "weight_sym",
       .help = "Weights' range is symmetric around zero (int8: -127 to 127)",
       .flag = &C::weight_sym},
      {.name = "weight_granularity",
       .help = "One scale for a weight tensor, or one for each of its output channels",
       .text = &C::weight_granularity,
       .choices = {"per_tensor", "per_channel"}},
      {.name = "weight_algorithm",
       .help = "How weights' ranges are chosen",
       .text = &C::weight_algorithm,
       .choices = {"minmax"}},
      {.name = "act_dtype",
       .help = "Type of quantized activations; fp32 leaves the operator float",
       .text = &C::act_dtype,
       .choices = {"int8", "uint8", "bf16", "fp32"}},
      {.name = "act_sym",
       .help = "Activations' range is symmetric around zero, or from zero if never negative; "
               "inputs' is not",
       .flag = &C::act_sym},
      {.name = "act_granularity",
       .help = "Activations have one scale for a tensor",
       .text = &C::act_granularity,
       .choices = {"per_tensor"}},
      {.name = "act_algorithm",
       .help = "How activations' ranges are chosen from the calibration data",
       .text = &C::act_algorithm,
       .choices = {"minmax"}},
      {.name = "white_list",
       .help = "Operator types and node names (exact or glob) to quantize; * means all",
       .list = &C::white_list},
  };
  return kOptions;
}

std::string quoted_list(std::span<const char* const> items) {
  std::string text;
  for (const char* item : items) text += concat(text.empty() ? "" : ", ", "'", item, "'");
  return text;
}

std::string suggestion(std::string_view name, std::span<const std::string> candidates) {
  const std::string nearest = nearest_name(name, candidates);
  return nearest.empty() ? "" : concat("; did you mean '", nearest, "'?");
}

bool too_deep(std::string_view json) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

Status bad_type(std::string_view option, std::string_view wanted, const Json& value) {
  return fail(ErrorCode::kInvalidArgument, "configuration: '", option, "' must be ", wanted,
              ", not ", value.type_name());
}

/// white_list: "*", one name, a list of names, or null for none.
Status read_list(std::string_view name, const Json& value, std::vector<std::string>& out) {
  out.clear();
  if (value.is_null()) return {};
  if (value.is_string()) {
    out.push_back(value.get<std::string>());
    return {};
  }
  if (!value.is_array()) return bad_type(name, "a list of strings", value);
  for (const Json& item : value) {
    if (!item.is_string()) return bad_type(name, "a list of strings", item);
    out.push_back(item.get<std::string>());
  }
  return {};
}

Status read_options(const Json& object, std::string_view where, StaticQuantConfig& config) {
  if (!object.is_object()) return bad_type(where, "an object of options", object);
  for (const auto& [key, value] : object.items()) {
    const auto option =
        std::ranges::find_if(options(), [&](const Option& o) { return key == o.name; });
    if (option == options().end()) {
      std::vector<std::string> names;
      for (const Option& o : options()) names.emplace_back(o.name);
      return fail(ErrorCode::kInvalidArgument, "configuration: there is no option '", key, "'",
                  suggestion(key, names));
    }
    if (option->text != nullptr) {
      if (!value.is_string()) return bad_type(key, "a string", value);
      config.*option->text = value.get<std::string>();
    } else if (option->flag != nullptr) {
      if (!value.is_boolean()) return bad_type(key, "true or false", value);
      config.*option->flag = value.get<bool>();
    } else {
      OCTAVO_TRY(read_list(key, value, config.*option->list));
    }
  }
  return {};
}

Json options_json(const StaticQuantConfig& config, bool is_local) {
  Json object = Json::object();
  for (const Option& option : options()) {
    if (option.text != nullptr) object[option.name] = config.*option.text;
    if (option.flag != nullptr) object[option.name] = config.*option.flag;
    if (option.list != nullptr && !is_local) object[option.name] = config.*option.list;
  }
  return object;
}

Status validate_options(const StaticQuantConfig& config) {
  for (const Option& option : options()) {
    if (option.text == nullptr) continue;
    const std::string& value = config.*option.text;
    if (std::ranges::find(option.choices, value) != option.choices.end()) continue;
    if (value == "kl" && std::string_view(option.name).ends_with("_algorithm")) {
      return fail(ErrorCode::kInvalidArgument, option.name,
                  " 'kl' is not available in this version; use 'minmax'");
    }
    return fail(ErrorCode::kInvalidArgument, option.name, " '", value, "' is not one of ",
                quoted_list(option.choices));
  }
  return {};
}

}  // namespace

std::span<const OptionDef<StaticQuantConfig>> StaticQuantConfig::fields() { return options(); }

Status StaticQuantConfig::validate() const {
  OCTAVO_TRY(validate_options(*this));
  for (const auto& [name, config] : local) {
    if (!config.local.empty()) {
      return fail(ErrorCode::kInvalidArgument, "the local configuration of '", name,
                  "' has local configurations of its own; set them on the outer one");
    }
    if (config.white_list != std::vector<std::string>{"*"} && config.white_list != white_list) {
      return fail(ErrorCode::kInvalidArgument, "the local configuration of '", name,
                  "' has a white_list; set act_dtype 'fp32' to leave those nodes float");
    }
    if (auto status = validate_options(config); !status) {
      return fail(status.error().code, "local configuration of '", name,
                  "': ", status.error().message);
    }
  }
  return {};
}

const StaticQuantConfig& StaticQuantConfig::resolve(std::string_view node_name,
                                                    std::string_view op_type) const {
  const StaticQuantConfig* by_name = nullptr;
  const StaticQuantConfig* by_glob = nullptr;
  const StaticQuantConfig* by_type = nullptr;
  for (const auto& [pattern, config] : local) {
    if (pattern == node_name) {
      by_name = &config;
    } else if (pattern == op_type) {
      by_type = &config;
    } else if (glob_match(pattern, node_name)) {
      by_glob = &config;
    }
  }
  return by_name != nullptr   ? *by_name
         : by_glob != nullptr ? *by_glob
         : by_type != nullptr ? *by_type
                              : *this;
}

bool StaticQuantConfig::allows(std::string_view node_name, std::string_view op_type) const {
  return std::ranges::any_of(white_list, [&](const std::string& pattern) {
    return glob_match(pattern, node_name) || glob_match(pattern, op_type);
  });
}

Result<StaticQuantConfig> StaticQuantConfig::from_json(std::string_view text) {
  if (too_deep(text)) {
    return fail(ErrorCode::kInvalidArgument, "configuration: JSON nested more than ", kMaxJsonDepth,
                " deep");
  }
  const Json json =
      Json::parse(text, nullptr, /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (json.is_discarded()) {
    return fail(ErrorCode::kInvalidArgument, "configuration: this is not valid JSON");
  }
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "configuration: expected a JSON object, not ",
                json.type_name());
  }
  StaticQuantConfig config;
  const bool staged = json.contains(kStageName);
  if (staged && json.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, "configuration: '", kStageName,
                "' must be the only key");
  }
  const Json& body = staged ? json[kStageName] : json;
  if (!body.is_object()) {
    OCTAVO_TRY(bad_type(kStageName, "an object", body));
  }
  if (body.contains("global") || body.contains("local")) {
    for (const auto& [key, value] : body.items()) {
      if (key != "global" && key != "local") {
        return fail(ErrorCode::kInvalidArgument, "configuration: '", key,
                    "' stands beside 'global' and 'local'; move it into 'global'");
      }
    }
    if (body.contains("global")) OCTAVO_TRY(read_options(body["global"], "global", config));
    if (body.contains("local")) {
      const Json& locals = body["local"];
      if (!locals.is_object()) {
        OCTAVO_TRY(bad_type("local", "an object of configurations by name", locals));
      }
      for (const auto& [name, value] : locals.items()) {
        StaticQuantConfig override = config;
        override.local.clear();
        override.white_list = {"*"};
        OCTAVO_TRY(read_options(value, name, override));
        config.set_local(name, override);
      }
    }
  } else {
    OCTAVO_TRY(read_options(body, kStageName, config));
  }
  OCTAVO_TRY(config.validate());
  return config;
}

std::string StaticQuantConfig::to_json() const {
  Json body = Json::object();
  body["global"] = options_json(*this, false);
  body["local"] = Json::object();
  // A JSON object has one entry per name: the last, which is the one that wins.
  for (const auto& [name, config] : local) {
    body["local"].erase(name);
    body["local"][name] = options_json(config, true);
  }
  Json json = Json::object();
  json[kStageName] = std::move(body);
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // let the last * take one character more
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Levenshtein distance, one row at a time.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t substituted = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace octavo
