#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> matmul_ops() { return {}; }

}  // namespace octavo::ops
