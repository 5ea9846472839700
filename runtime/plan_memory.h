// Places a plan's buffers in one arena: two buffers share bytes only if they are never alive at the
// same step.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo {

struct ArenaBuffer {
  int64_t bytes = 0;
  int first = 0, last = 0;  // alive during steps [first, last]
  int64_t offset = -1;      // set by pack_arena, a multiple of 64
};

/// Greedy by size: the largest buffers first, each at the lowest offset that is free during its
/// life. Returns the arena's size in bytes.
int64_t pack_arena(std::vector<ArenaBuffer>& buffers);

}  // namespace octavo
