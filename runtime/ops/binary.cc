#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> binary_ops() { return {}; }

}  // namespace octavo::ops
