#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> generate_ops() { return {}; }

}  // namespace octavo::ops
