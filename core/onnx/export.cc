#include "core/onnx/onnx.h"

namespace octavo {

Result<Bytes> export_onnx(const Graph&) {
  return fail(ErrorCode::kInternal, "ONNX export is not built yet");
}

}  // namespace octavo
