#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> shape_ops() { return {}; }

}  // namespace octavo::ops
