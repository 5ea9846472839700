#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> softmax_ops() { return {}; }

}  // namespace octavo::ops
