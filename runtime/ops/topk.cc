#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> rank_ops() { return {}; }

}  // namespace octavo::ops
