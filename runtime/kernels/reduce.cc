#include "runtime/kernel_table.h"

namespace octavo::kernels {

std::span<const KernelDef> reduce_kernels() { return {}; }

}  // namespace octavo::kernels
