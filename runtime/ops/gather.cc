#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> gather_ops() { return {}; }

}  // namespace octavo::ops
