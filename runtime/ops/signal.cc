#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> signal_ops() { return {}; }

}  // namespace octavo::ops
