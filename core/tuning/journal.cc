#include "core/tuning/journal.h"

#include <cmath>
#include <limits>

#include "core/config/config_json.h"

namespace octavo {
namespace {

using Json = ConfigJson;

constexpr int kFormat = 1;

std::string line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json record_json(const TrialRecord& r) {
  Json json = {{"trial", r.index},
               {"phase", r.phase},
               {"description", r.description},
               {"recipe", Json::parse(r.recipe, nullptr, false)}};
  if (r.recipe.empty()) json["recipe"] = nullptr;
  if (r.ok()) {
    json["accuracy"] = r.accuracy;
    json["loss"] = r.loss;
    json["holds"] = r.holds;
    json["latency_ms"] = r.latency_ms ? Json(*r.latency_ms) : Json(nullptr);
    json["size_bytes"] = r.size_bytes;
    json["memory_bytes"] = r.memory_bytes;
    json["model_hash"] = r.model_hash;
    if (r.same_as >= 0) json["same_as"] = r.same_as;
  } else {
    json["error"] = r.error;
  }
  json["quantize_s"] = r.quantize_s;
  json["evaluate_s"] = r.evaluate_s;
  return json;
}

double number_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}
int64_t integer_of(const Json& json, const char* key, int64_t otherwise = 0) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}
std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<TrialRecord> read_record(const Json& json) {
  TrialRecord r;
  r.index = integer_of(json, "trial");
  r.phase = text_of(json, "phase");
  r.description = text_of(json, "description");
  r.error = text_of(json, "error");
  r.accuracy = number_of(json, "accuracy");
  if (json.contains("latency_ms") && json["latency_ms"].is_number()) {
    r.latency_ms = json["latency_ms"].get<double>();
  }
  r.size_bytes = integer_of(json, "size_bytes");
  r.memory_bytes = integer_of(json, "memory_bytes");
  r.model_hash = text_of(json, "model_hash");
  r.same_as = integer_of(json, "same_as", -1);
  r.quantize_s = number_of(json, "quantize_s");
  r.evaluate_s = number_of(json, "evaluate_s");
  if (json.contains("recipe") && !json["recipe"].is_null()) {
    // As this version writes it: recipes are compared as text.
    OCTAVO_ASSIGN(const Recipe recipe, Recipe::from_json(json["recipe"].dump(
                                           -1, ' ', false, Json::error_handler_t::replace)));
    r.recipe = recipe.to_json();
  }
  r.resumed = true;
  return r;
}

}  // namespace

Result<Journal> read_journal(std::string_view text) {
  Journal journal;
  int number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // cut off while it was written
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(end + 1);
    ++number;
    if (one.empty()) continue;
    const auto parsed = parse_config_json(one);
    const auto bad = [&](const std::string& why) {
      return fail(ErrorCode::kInvalidArgument, "line ", number, " of the journal: ", why);
    };
    if (!parsed) return bad(parsed.error().message);
    const Json& json = *parsed;
    if (!json.is_object()) return bad("expected an object");
    if (number == 1) {
      if (integer_of(json, "octavo_tuning") != kFormat) return bad("this is no tuning journal");
      journal.model = text_of(json, "model");
    } else if (json.contains("baseline")) {
      auto record = read_record(json["baseline"]);
      if (!record) return bad(record.error().message);
      journal.baseline = *std::move(record);
    } else if (json.contains("analysis")) {
      std::vector<double>& values = journal.analyses[text_of(json, "analysis")];
      if (!json.contains("values") || !json["values"].is_array()) return bad("expected values");
      for (const Json& value : json["values"]) {
        values.push_back(value.is_number() ? value.get<double>()
                                           : std::numeric_limits<double>::quiet_NaN());
      }
    } else if (json.contains("trial")) {
      auto record = read_record(json);
      if (!record) return bad(record.error().message);
      journal.trials.push_back(*std::move(record));
    }
  }
  return journal;
}

std::string journal_header(const std::string& model_hash, const TuningConfig& config) {
  return line({{"octavo_tuning", kFormat},
               {"model", model_hash},
               {"config", Json::parse(config.to_json(), nullptr, false)}});
}

std::string journal_line(const TrialRecord& record) {
  if (record.index == 0) return line({{"baseline", record_json(record)}});
  return line(record_json(record));
}

std::string journal_line(const std::string& analysis, const std::vector<double>& values) {
  return line({{"analysis", analysis}, {"values", values}});
}

std::string tuning_json(const TuningResult& result) {
  Json trials = Json::array();
  for (const TrialRecord& record : result.trials) {
    trials.push_back(record_json(record));
    trials.back()["resumed"] = record.resumed;
  }
  const Json json = {{"success", result.success},   {"best", result.best},
                     {"decision", result.decision}, {"stopped", result.stopped},
                     {"pareto", result.pareto},     {"baseline", record_json(result.baseline)},
                     {"trials", std::move(trials)}};
  return dump_config_json(json);
}

}  // namespace octavo
