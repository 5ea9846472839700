#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> quantize_ops() { return {}; }

}  // namespace octavo::ops
