// What the full module adds: models and their quantization.
#include <emscripten/bind.h>

#include "core/config/recipe.h"
#include "core/inspect.h"
#include "core/provenance.h"
#include "wasm/model.h"
#include "wasm/runtime/threads.h"

namespace octavo::wasm {
namespace {

val bytes_to_js(const Result<Bytes>& bytes) {
  return unwrap(bytes, [](const Bytes& b) { return to_js(std::span<const uint8_t>(b)); });
}

/// `external`: an object of Uint8Arrays by the names that the model gives them.
ExternalDataReader external_reader(const val& external) {
  if (external.isUndefined() || external.isNull()) return {};
  return [external](const std::string& location, int64_t offset, int64_t length) -> Result<Bytes> {
    if (!external.hasOwnProperty(location.c_str())) {
      return fail(ErrorCode::kNotFound, "the model needs the external-data file '", location,
                  "'; pass it in the option externalData");
    }
    const val file = external[location];
    const auto size = static_cast<int64_t>(file["length"].as<double>());
    if (offset < 0 || offset > size || length < 0 || length > size - offset) {
      return fail(ErrorCode::kInvalidModel, "the external-data file '", location, "' of ", size,
                  " bytes is too short for ", length, " bytes at ", offset);
    }
    const int64_t count = length == 0 ? size - offset : length;
    Bytes bytes(static_cast<size_t>(count));
    val(emscripten::typed_memory_view(bytes.size(), bytes.data()))
        .call<void>("set", file.call<val>("subarray", static_cast<double>(offset),
                                          static_cast<double>(offset + count)));
    return bytes;
  };
}

Result<Model> open_model(const val& array, const val& external) {
  OCTAVO_ASSIGN(const Buffer file, copy_bytes(array));
  return Model::load(file.bytes(),
                     {.external_data = external_reader(external), .owner = file.memory});
}

val load_model(const val& array, const val& external) {
  return unwrap(open_model(array, external), model_to_js);
}

val nodes_to_js(const std::vector<NodeReport>& reports) {
  val nodes = val::array();
  for (const NodeReport& node : reports) {
    val item = val::object();
    item.set("name", node.name);
    item.set("op", node.op);
    item.set("quantized", node.quantized);
    item.set("weights", node.weights);
    item.set("activations", node.activations);
    item.set("reason", node.reason);
    nodes.call<void>("push", item);
  }
  return nodes;
}

val report_to_js(const QuantizeReport& report) {
  val warnings = val::array();
  for (const std::string& warning : report.warnings) warnings.call<void>("push", warning);
  val out = val::object();
  out.set("nodes", nodes_to_js(report.nodes));
  out.set("floatBytes", static_cast<double>(report.float_bytes));
  out.set("quantizedBytes", static_cast<double>(report.quantized_bytes));
  out.set("samples", static_cast<double>(report.samples));
  out.set("warnings", warnings);
  return out;
}

class JsQuantizer {
 public:
  explicit JsQuantizer(Quantizer quantizer) : quantizer_(std::move(quantizer)) {}

  val observe(const val& feeds) {
    return observe_feeds(feeds,
                         [&](const NamedTensors& tensors) { return quantizer_.observe(tensors); });
  }

  bool wants_data() const { return quantizer_.wants_data(); }

  /// Whether the samples are wanted once more, or {error}.
  val end_pass() {
    return unwrap(quantizer_.end_pass(), [](bool again) { return val(again); });
  }

  /// {model, report}, or {error}.
  val finish() { return unwrap(quantizer_.finish(), quantized_to_js); }

 private:
  Quantizer quantizer_;
};

// `on_step(done, total)`: told of the steps of algorithms that take long; false cancels.
Result<Quantizer> make_quantizer(const JsModel& model, const std::string& config_json,
                                 bool deterministic, const val& on_step) {
  OCTAVO_ASSIGN(const Recipe recipe, Recipe::from_json(config_json));
  const ProgressFn progress = [on_step](int64_t done, int64_t total) {
    return on_step(static_cast<double>(done), static_cast<double>(total)).as<bool>();
  };
  return Quantizer::create(
      model.model(), recipe,
      {.progress = progress, .pool = thread_pool(), .deterministic = deterministic});
}

// A quantizer that makes a file again. If the file comes from another model, it wants no data.
class JsVerifier {
 public:
  static val create(const JsModel& model, const val& file) {
    return unwrap(make(model, file),
                  [](std::shared_ptr<JsVerifier> made) { return val(std::move(made)); });
  }

  double samples() const { return static_cast<double>(found_.provenance.samples); }
  bool wants_data() const { return quantizer_ && quantizer_->wants_data(); }
  val observe(const val& feeds) {
    return observe_feeds(feeds,
                         [&](const NamedTensors& tensors) { return quantizer_->observe(tensors); });
  }
  val end_pass() {
    return unwrap(quantizer_->end_pass(), [](bool again) { return val(again); });
  }

  /// {difference, version, recipe, model, data, samples, deterministic}, or {error}.
  val verdict() {
    if (const Status status = compare(); !status) return to_js(status.error());
    const Provenance& source = found_.provenance;
    val out = val::object();
    out.set("difference", found_.difference);
    out.set("version", source.version);
    out.set("recipe", source.recipe.to_json());
    out.set("model", source.model);
    out.set("data", source.data);
    out.set("samples", samples());
    out.set("deterministic", source.deterministic);
    return out;
  }

 private:
  static Result<std::shared_ptr<JsVerifier>> make(const JsModel& model, const val& file) {
    auto made = std::make_shared<JsVerifier>();
    OCTAVO_ASSIGN(made->file_, copy_bytes(file));
    OCTAVO_ASSIGN(made->found_, begin_verification(made->file_.bytes(), model.model()));
    if (!made->found_.same()) return made;
    const Provenance& source = made->found_.provenance;
    OCTAVO_ASSIGN(made->quantizer_, Quantizer::create(model.model(), source.recipe,
                                                      {.pool = thread_pool(),
                                                       .deterministic = source.deterministic}));
    return made;
  }
  Status compare() {
    if (!quantizer_) return {};
    OCTAVO_ASSIGN(const QuantizedModel made, quantizer_->finish());
    return end_verification(file_.bytes(), made.model, found_);
  }

  Buffer file_;
  Verification found_;
  std::optional<Quantizer> quantizer_;
};

val create_quantizer(const JsModel& model, const std::string& config_json, bool deterministic,
                     const val& on_step) {
  return unwrap(
      make_quantizer(model, config_json, deterministic, on_step),
      [](Quantizer quantizer) { return val(std::make_shared<JsQuantizer>(std::move(quantizer))); });
}

}  // namespace

val JsModel::create_session() const {
  return unwrap(model_.create_session({.pool = thread_pool()}), session_to_js);
}
val JsModel::to_onnx(bool keep_names) const {
  return bytes_to_js(model_.to_onnx({.keep_names = keep_names}));
}
val JsModel::to_compact() const { return bytes_to_js(model_.to_compact()); }
val JsModel::inspect() const {
  const Inspection found = octavo::inspect(model_);
  val out = val::object();
  out.set("quantized", found.quantized);
  out.set("parameters", static_cast<double>(found.parameters));
  out.set("constantBytes", static_cast<double>(found.constant_bytes));
  out.set("nodes", nodes_to_js(found.nodes));
  return out;
}

val model_to_js(Model model) { return val(std::make_shared<JsModel>(std::move(model))); }

val quantized_to_js(QuantizedModel quantized) {
  val out = val::object();
  out.set("report", report_to_js(quantized.report));
  out.set("model", model_to_js(std::move(quantized.model)));
  return out;
}

val status_to_js(const Status& status) { return status ? val::undefined() : to_js(status.error()); }

EMSCRIPTEN_BINDINGS(octavo_core) {
  emscripten::class_<JsModel>("Model")
      .smart_ptr<std::shared_ptr<JsModel>>("Model")
      .function("createSession", &JsModel::create_session)
      .function("toOnnx", &JsModel::to_onnx)
      .function("toCompact", &JsModel::to_compact)
      .function("inspect", &JsModel::inspect)
      .function("inputs", &JsModel::inputs)
      .function("outputs", &JsModel::outputs);
  emscripten::class_<JsQuantizer>("Quantizer")
      .smart_ptr<std::shared_ptr<JsQuantizer>>("Quantizer")
      .function("wantsData", &JsQuantizer::wants_data)
      .function("observe", &JsQuantizer::observe)
      .function("endPass", &JsQuantizer::end_pass)
      .function("finish", &JsQuantizer::finish);
  emscripten::class_<JsVerifier>("Verifier")
      .smart_ptr<std::shared_ptr<JsVerifier>>("Verifier")
      .function("samples", &JsVerifier::samples)
      .function("wantsData", &JsVerifier::wants_data)
      .function("observe", &JsVerifier::observe)
      .function("endPass", &JsVerifier::end_pass)
      .function("verdict", &JsVerifier::verdict);
  emscripten::function("createVerifier", &JsVerifier::create);
  emscripten::function("loadModel", &load_model);
  emscripten::function("createQuantizer", &create_quantizer);
  emscripten::function("schema", &recipe_schema);
}

}  // namespace octavo::wasm
