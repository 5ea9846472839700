#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> conv_ops() { return {}; }

}  // namespace octavo::ops
