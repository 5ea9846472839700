#include "runtime/kernel_table.h"

namespace octavo::kernels {

std::span<const KernelDef> pool_kernels() { return {}; }

}  // namespace octavo::kernels
