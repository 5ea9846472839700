#include "core/provenance.h"

#include <algorithm>

#include "core/config/config_json.h"
#include "core/text.h"
#include "runtime/compact.h"

namespace octavo {
namespace {

using Json = ConfigJson;

constexpr const char* kProperty = "octavo";

// What differs, as far as that can be told without the bytes.
std::string other_input(const Provenance& file, const Provenance& made) {
  if (file.model != made.model) return "it was made from another float model";
  if (file.samples != made.samples) {
    return concat("it was calibrated on ", file.samples, " samples; here there are ", made.samples);
  }
  if (file.data != made.data) return "it was calibrated on other data, or preprocessed otherwise";
  return "";
}

std::string other_bytes(const Provenance& file) {
  if (file.version != OCTAVO_VERSION) {
    return concat("it was made by version ", file.version, "; this is ", OCTAVO_VERSION,
                  ", which makes other bytes");
  }
  return concat("model, data and recipe are the same, the bytes are not: the file was changed",
                file.deterministic ? ""
                                   : " or made on another kind of processor (--deterministic "
                                     "gives the same bytes everywhere)");
}

}  // namespace

Result<std::string> model_hash(const Graph& graph) {
  Graph bare = graph;
  bare.metadata.clear();
  OCTAVO_ASSIGN(const std::vector<uint8_t> bytes, write_compact(bare));
  ContentHash hash;
  hash.add(std::as_bytes(std::span(bytes)));
  return hash_text(hash);
}

void write_provenance(const Provenance& provenance, Graph& graph) {
  Json json = {{"version", provenance.version}, {"model", provenance.model}};
  // Small files would grow by a tenth with every option's value in them.
  Json recipe = brief_recipe_json(provenance.recipe);
  if (recipe != brief_recipe_json(Recipe())) json["recipe"] = std::move(recipe);
  if (!provenance.data.empty()) {
    json["data"] = provenance.data;
    json["samples"] = provenance.samples;
  }
  if (provenance.deterministic) json["deterministic"] = true;
  std::erase_if(graph.metadata, [](const auto& property) { return property.first == kProperty; });
  graph.metadata.emplace_back(kProperty, json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Result<Provenance> read_provenance(const Graph& graph) {
  const auto property =
      std::ranges::find(graph.metadata, kProperty, &std::pair<std::string, std::string>::first);
  if (property == graph.metadata.end()) {
    return fail(ErrorCode::kNotFound,
                "the model does not say where it comes from (it has no property 'octavo'); only "
                "models that Octavo has quantized do");
  }
  const auto bad = [](const char* what) {
    return fail(ErrorCode::kInvalidArgument, "the model's property 'octavo' ", what);
  };
  const auto json = parse_config_json(property->second);
  if (!json || !json->is_object()) return bad("is no JSON object");
  Provenance made;
  const auto text = [&](const char* key, std::string& to) {
    const auto found = json->find(key);
    if (found != json->end() && found->is_string()) to = found->get<std::string>();
    return !to.empty();
  };
  if (!text("version", made.version) || !text("model", made.model)) {
    return bad("lacks the version or the float model's hash");
  }
  if (const auto recipe = json->find("recipe"); recipe != json->end()) {
    OCTAVO_ASSIGN(made.recipe,
                  Recipe::from_json(recipe->dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
  if (text("data", made.data)) {
    const auto samples = json->find("samples");
    if (samples == json->end() || !samples->is_number_integer()) {
      return bad("lacks the number of samples");
    }
    made.samples = samples->get<int64_t>();
  }
  const auto deterministic = json->find("deterministic");
  made.deterministic = deterministic != json->end() && *deterministic == true;
  return made;
}

Result<Verification> begin_verification(std::span<const uint8_t> file, const Model& float_model) {
  OCTAVO_ASSIGN(const Model model, Model::load(file, {.optimize = false}));
  Verification found;
  OCTAVO_ASSIGN(found.provenance, read_provenance(model.graph()));
  OCTAVO_ASSIGN(const std::string hash, model_hash(float_model.graph()));
  if (hash != found.provenance.model) {
    found.difference = other_input(found.provenance, {.model = hash});
  }
  return found;
}

Status end_verification(std::span<const uint8_t> file, const Model& made, Verification& found) {
  const Provenance& source = found.provenance;
  OCTAVO_ASSIGN(const Provenance again, read_provenance(made.graph()));
  found.difference = other_input(source, again);
  if (!found.same()) return {};
  const auto equals = [&](const Result<Bytes>& bytes) -> Result<bool> {
    if (!bytes) return std::unexpected(bytes.error());
    return std::ranges::equal(*bytes, file);
  };
  bool same = false;
  if (is_compact(file)) {
    OCTAVO_ASSIGN(same, equals(made.to_compact()));
  } else {
    for (const bool keep_names : {false, true}) {
      OCTAVO_ASSIGN(const bool equal, equals(made.to_onnx({.keep_names = keep_names})));
      same = same || equal;
    }
  }
  if (!same) found.difference = other_bytes(source);
  return {};
}

Result<Verification> verify(std::span<const uint8_t> file, const Model& float_model,
                            DataLoader* data, QuantizeOptions options) {
  OCTAVO_ASSIGN(Verification found, begin_verification(file, float_model));
  if (!found.same()) return found;
  const Provenance& source = found.provenance;
  options.deterministic = source.deterministic;
  OCTAVO_ASSIGN(const QuantizedModel made,
                quantize_model(float_model, source.recipe, source.data.empty() ? nullptr : data,
                               std::max<int64_t>(source.samples, 1), {}, options));
  OCTAVO_TRY(end_verification(file, made.model, found));
  return found;
}

}  // namespace octavo
