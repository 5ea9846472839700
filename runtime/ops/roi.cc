#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> roi_ops() { return {}; }

}  // namespace octavo::ops
