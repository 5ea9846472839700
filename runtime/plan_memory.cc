#include "runtime/plan_memory.h"

#include <algorithm>
#include <numeric>

#include "runtime/sort.h"

namespace octavo {

int64_t pack_arena(std::vector<ArenaBuffer>& buffers) {
  const auto buffer_at = [&](int64_t i) -> ArenaBuffer& { return buffers[static_cast<size_t>(i)]; };
  int steps = 0;
  for (const ArenaBuffer& buffer : buffers) steps = std::max(steps, buffer.last + 1);
  std::vector<std::vector<int64_t>> placed_at(static_cast<size_t>(steps));
  std::vector<int64_t> conflicts;
  int64_t total = 0;
  for (const int64_t index : sorted_indices(buffers.size(), [&](int64_t a, int64_t b) {
         return buffer_at(a).bytes > buffer_at(b).bytes;
       })) {
    ArenaBuffer& buffer = buffer_at(index);
    conflicts.clear();
    for (int step = buffer.first; step <= buffer.last; ++step) {
      const auto& here = placed_at[static_cast<size_t>(step)];
      conflicts.insert(conflicts.end(), here.begin(), here.end());
    }
    sort_first(conflicts, static_cast<int64_t>(conflicts.size()),
               [&](int64_t a, int64_t b) { return buffer_at(a).offset < buffer_at(b).offset; });
    const int64_t bytes = (buffer.bytes + 63) / 64 * 64;
    int64_t offset = 0;
    for (const int64_t at : conflicts) {
      const ArenaBuffer& other = buffer_at(at);
      if (other.offset >= offset + bytes) break;
      offset = std::max(offset, other.offset + (other.bytes + 63) / 64 * 64);
    }
    buffer.offset = offset;
    total = std::max(total, offset + bytes);
    for (int step = buffer.first; step <= buffer.last; ++step) {
      placed_at[static_cast<size_t>(step)].push_back(index);
    }
  }
  return total;
}

}  // namespace octavo
