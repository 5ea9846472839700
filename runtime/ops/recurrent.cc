#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> recurrent_ops() { return {}; }

}  // namespace octavo::ops
