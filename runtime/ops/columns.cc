#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> columns_ops() { return {}; }

}  // namespace octavo::ops
