#include "runtime/kernel_table.h"

namespace octavo::kernels {

std::span<const KernelDef> matmul_kernels() { return {}; }

}  // namespace octavo::kernels
