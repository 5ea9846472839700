#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> control_ops() { return {}; }

}  // namespace octavo::ops
