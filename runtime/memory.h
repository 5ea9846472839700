// Zeroed memory for tensors and packed weights. A process that touches new memory waits for a page
// fault every 4 KiB, which takes most of the time of a session's first run; large blocks lie such
// that the system can give them pages of 2 MiB.
#pragma once

#include <cstddef>
#include <memory>

namespace octavo {

/// Told of each large block before it is used. `memory` and `bytes` are multiples of 2 MiB.
using MemoryAdvice = void (*)(void* memory, size_t bytes);
/// For the whole process, before its first session. Without advice large blocks are as others.
void set_memory_advice(MemoryAdvice advice);

/// Zeros at a multiple of 64 bytes; nullptr: out of memory.
std::shared_ptr<void> allocate_zeroed(size_t bytes);

/// As allocate_zeroed, for what lives as long as its neighbours do, such as the weights of one
/// plan: small ones are parts of larger blocks, which are freed with their last part.
std::shared_ptr<void> allocate_neighbour(size_t bytes);

}  // namespace octavo
