// A model as JavaScript holds it.
#pragma once

#include "core/octavo.h"
#include "wasm/runtime/values.h"

namespace octavo::wasm {

class JsModel {
 public:
  explicit JsModel(Model model) : model_(std::move(model)) {}

  val create_session() const;
  val to_onnx(bool keep_names) const;
  val to_compact() const;
  val inputs() const { return describe(model_.graph(), model_.graph().inputs); }
  val outputs() const { return describe(model_.graph(), model_.graph().outputs); }
  /// {quantized, parameters, constantBytes, nodes}.
  val inspect() const;
  const Model& model() const { return model_; }

 private:
  Model model_;
};

val model_to_js(Model model);
/// {model, report}.
val quantized_to_js(QuantizedModel quantized);

/// undefined, or {error}.
val status_to_js(const Status& status);
/// Hands feeds to `observe`; undefined, or {error}.
template <class Observe>
val observe_feeds(const val& feeds, const Observe& observe) {
  const auto tensors = feeds_from_js(feeds);
  return tensors ? status_to_js(observe(*tensors)) : to_js(tensors.error());
}

}  // namespace octavo::wasm
