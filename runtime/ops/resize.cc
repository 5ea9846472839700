#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> resize_ops() { return {}; }

}  // namespace octavo::ops
