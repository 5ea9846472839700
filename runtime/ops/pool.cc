#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> pool_ops() { return {}; }

}  // namespace octavo::ops
