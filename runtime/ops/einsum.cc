#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> einsum_ops() { return {}; }

}  // namespace octavo::ops
