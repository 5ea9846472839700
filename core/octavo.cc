#include "core/octavo.h"

#include <algorithm>

#include "core/onnx/onnx.h"
#include "core/passes/passes.h"
#include "runtime/compact.h"
#include "runtime/limits.h"

namespace octavo {

Result<Model> Model::load(std::span<const uint8_t> bytes, const LoadOptions& options) {
  if (static_cast<int64_t>(bytes.size()) > limits::kModelBytes) {
    return fail(ErrorCode::kLimitExceeded, "the model file is larger than ",
                limits::kModelBytes >> 30, " GiB; keep its weights in an external-data file");
  }
  if (is_compact(bytes)) {
    OCTAVO_ASSIGN(Graph graph, read_compact(bytes, options.owner));
    return Model(std::make_shared<const Graph>(std::move(graph)));
  }
  OCTAVO_ASSIGN(Graph graph, import_onnx(bytes, options));
  if (options.optimize) {
    // Quantized sub-graphs first: folding would turn their integer weights into floats.
    OCTAVO_TRY(run_passes(graph, collapse_passes()));
    OCTAVO_TRY(run_passes(graph, optimize_passes()));
  }
  return Model(std::make_shared<const Graph>(std::move(graph)));
}

Result<Bytes> Model::to_onnx(const OnnxOptions& options) const {
  return export_onnx(*graph_, options);
}

Result<Bytes> Model::to_compact() const {
  const bool quantized = std::ranges::any_of(
      graph_->values, [](const Value& value) { return value.quant != nullptr; });
  if (!quantized) return write_compact(*graph_);
  Graph graph = *graph_;
  OCTAVO_TRY(run_passes(graph, execution_passes()));
  return write_compact(graph);
}

Result<Session> Model::create_session(SessionOptions options) const {
  Graph graph = *graph_;
  OCTAVO_TRY(run_passes(graph, execution_passes()));
  return Session::create(std::make_shared<const Graph>(std::move(graph)), std::move(options));
}

Status DataLoader::rewind() {
  return fail(ErrorCode::kUnavailable,
              "the calibration data cannot be read a second time; implement rewind()");
}

}  // namespace octavo
