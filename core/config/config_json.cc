#include "core/config/config_json.h"

#include <algorithm>

namespace octavo {
namespace {

using Json = ConfigJson;

constexpr int kMaxJsonDepth = 16;

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

// Reads one JSON value into the option's place.
struct ValueReader {
  std::string_view name;
  const Json& json;

  Status operator()(std::string* out) const {
    if (!json.is_string()) return bad_type(name, "a string", json);
    *out = json.get<std::string>();
    return {};
  }
  Status operator()(bool* out) const {
    if (!json.is_boolean()) return bad_type(name, "true or false", json);
    *out = json.get<bool>();
    return {};
  }
  Status operator()(int64_t* out) const {
    if (!json.is_number_integer()) return bad_type(name, "a whole number", json);
    *out = json.get<int64_t>();
    return {};
  }
  Status operator()(double* out) const {
    if (!json.is_number()) return bad_type(name, "a number", json);
    *out = json.get<double>();
    return {};
  }
  Status operator()(std::optional<double>* out) const {
    out->reset();
    if (json.is_null() || json == "auto") return {};
    if (!json.is_number()) return bad_type(name, "a number or \"auto\"", json);
    *out = json.get<double>();
    return {};
  }
  // "*", one name, a list of names, or null for none.
  Status operator()(std::vector<std::string>* out) const {
    out->clear();
    if (json.is_null()) return {};
    if (json.is_string()) {
      out->push_back(json.get<std::string>());
      return {};
    }
    if (!json.is_array()) return bad_type(name, "a list of strings", json);
    for (const Json& item : json) {
      if (!item.is_string()) return bad_type(name, "a list of strings", item);
      out->push_back(item.get<std::string>());
    }
    return {};
  }
};

struct ValueWriter {
  Json operator()(const std::optional<double>* value) const {
    return *value ? Json(**value) : Json("auto");
  }
  Json operator()(const auto* value) const { return Json(*value); }
};

Status read_options(const Json& object, std::string_view where, std::span<const OptionDef> fields,
                    ConfigBase& config) {
  if (!object.is_object()) return bad_type(where, "an object of options", object);
  for (const auto& [key, value] : object.items()) {
    const OptionDef* option = find_option(fields, key);
    if (option == nullptr) {
      std::vector<std::string> names;
      for (const OptionDef& o : fields) names.emplace_back(o.name);
      return fail(ErrorCode::kInvalidArgument, "configuration: there is no option '", key, "'",
                  did_you_mean(key, names));
    }
    OCTAVO_TRY(std::visit(ValueReader{key, value}, option->in(config)));
  }
  return {};
}

Json options_json(std::span<const OptionDef> fields, ConfigBase& config, bool is_local) {
  Json object = Json::object();
  for (const OptionDef& option : fields) {
    if (is_local && !option.in_local) continue;
    object[option.name] = std::visit(ValueWriter(), option.in(config));
  }
  return object;
}

}  // namespace

Result<ConfigJson> parse_config_json(std::string_view text) {
  if (too_deep(text)) {
    return fail(ErrorCode::kInvalidArgument, "configuration: JSON nested more than ", kMaxJsonDepth,
                " deep");
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (json.is_discarded()) {
    return fail(ErrorCode::kInvalidArgument, "configuration: this is not valid JSON");
  }
  return json;
}

Status read_config_body(const ConfigJson& body, ConfigView& view) {
  if (!body.is_object()) return bad_type(view.name, "an object", body);
  if (!body.contains("global") && !body.contains("local")) {
    return read_options(body, view.name, view.fields, *view.config);
  }
  for (const auto& [key, value] : body.items()) {
    if (key != "global" && key != "local") {
      return fail(ErrorCode::kInvalidArgument, "configuration: '", key,
                  "' stands beside 'global' and 'local'; move it into 'global'");
    }
  }
  if (body.contains("global")) {
    OCTAVO_TRY(read_options(body["global"], "global", view.fields, *view.config));
  }
  if (!body.contains("local")) return {};
  const Json& locals = body["local"];
  if (!locals.is_object()) {
    return bad_type("local", "an object of configurations by name", locals);
  }
  for (const auto& [name, value] : locals.items()) {
    OCTAVO_TRY(read_options(value, name, view.fields, view.add_local(name)));
  }
  return {};
}

ConfigJson config_body(const ConfigView& view) {
  Json body = Json::object();
  body["global"] = options_json(view.fields, *view.config, false);
  body["local"] = Json::object();
  // A JSON object has one entry per name: the last, which is the one that wins.
  for (const auto& [name, config] : view.local) {
    body["local"].erase(name);
    body["local"][name] = options_json(view.fields, *config, true);
  }
  return body;
}

std::string dump_config_json(const ConfigJson& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

Status read_config(std::string_view text, ConfigView& view) {
  OCTAVO_ASSIGN(const Json json, parse_config_json(text));
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "configuration: expected a JSON object, not ",
                json.type_name());
  }
  if (!json.contains(view.name)) return read_config_body(json, view);
  if (json.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, "configuration: '", view.name,
                "' must be the only key");
  }
  return read_config_body(json[view.name], view);
}

std::string write_config(const ConfigView& view) {
  Json json = Json::object();
  json[view.name] = config_body(view);
  return dump_config_json(json);
}

}  // namespace octavo
