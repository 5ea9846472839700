#include "runtime/ops/families.h"

namespace octavo::ops {

std::span<const OpDef> image_ops() { return {}; }

}  // namespace octavo::ops
