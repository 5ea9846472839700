#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> reduce_ops() { return {}; }

}  // namespace octavo::ops
