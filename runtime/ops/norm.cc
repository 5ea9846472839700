#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> norm_ops() { return {}; }

}  // namespace octavo::ops
