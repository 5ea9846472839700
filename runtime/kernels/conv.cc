#include "runtime/kernel_table.h"

namespace octavo::kernels {

std::span<const KernelDef> conv_kernels() { return {}; }

}  // namespace octavo::kernels
