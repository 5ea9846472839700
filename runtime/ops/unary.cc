#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> unary_ops() { return {}; }

}  // namespace octavo::ops
