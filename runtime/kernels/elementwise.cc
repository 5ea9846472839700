#include "runtime/kernel_table.h"

namespace octavo::kernels {

std::span<const KernelDef> elementwise_kernels() { return {}; }

}  // namespace octavo::kernels
