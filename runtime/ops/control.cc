#include "runtime/ops/families.h"

namespace octavo::ops {

// If, Loop and Scan have the field internal_field(int_field("captured")): how many of the node's
// last inputs are captured values of the outer graph (and so the last inputs of the bodies).
// Without it a Loop's carried values could not be told from captured ones. The importer sets it.
std::span<const OpDef> control_ops() { return {}; }

}  // namespace octavo::ops
