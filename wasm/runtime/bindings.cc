// What both modules offer: sessions over .octavo files.
#include <emscripten/bind.h>

#include "runtime/compact.h"
#include "wasm/runtime/threads.h"
#include "wasm/runtime/values.h"

namespace octavo::wasm {
namespace {

Result<Session> open_compact(const val& array) {
  OCTAVO_ASSIGN(const Buffer file, copy_bytes(array));
  if (!is_compact(file.bytes())) {
    return fail(ErrorCode::kInvalidModel,
                "this is not an .octavo file; octavo/runtime reads nothing else. Convert the model "
                "with `octavo` or with Model.toCompact()");
  }
  OCTAVO_ASSIGN(Graph graph, read_compact(file.bytes(), file.memory));
  return Session::create(std::make_shared<const Graph>(std::move(graph)), {.pool = thread_pool()});
}

val session_from_compact(const val& array) { return unwrap(open_compact(array), session_to_js); }

}  // namespace

EMSCRIPTEN_BINDINGS(octavo_runtime) {
  emscripten::class_<JsSession>("Session")
      .smart_ptr<std::shared_ptr<JsSession>>("Session")
      .function("run", &JsSession::run)
      .function("memoryBytes", &JsSession::memory_bytes)
      .function("inputs", &JsSession::inputs)
      .function("outputs", &JsSession::outputs);
  emscripten::function("sessionFromCompact", &session_from_compact);
}

}  // namespace octavo::wasm
