#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> loss_ops() { return {}; }

}  // namespace octavo::ops
