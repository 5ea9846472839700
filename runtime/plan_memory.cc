#include "runtime/plan_memory.h"

#include <algorithm>
#include <numeric>

namespace octavo {

int64_t pack_arena(std::vector<ArenaBuffer>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  int steps = 0;
  for (const ArenaBuffer& buffer : buffers) steps = std::max(steps, buffer.last + 1);
  std::vector<std::vector<size_t>> placed_at(static_cast<size_t>(steps));
  std::vector<size_t> conflicts;
  int64_t total = 0;
  for (const size_t index : order) {
    ArenaBuffer& buffer = buffers[index];
    conflicts.clear();
    for (int step = buffer.first; step <= buffer.last; ++step) {
      const auto& here = placed_at[static_cast<size_t>(step)];
      conflicts.insert(conflicts.end(), here.begin(), here.end());
    }
    std::ranges::sort(conflicts, {}, [&](size_t i) { return std::pair(buffers[i].offset, i); });
    const int64_t bytes = (buffer.bytes + 63) / 64 * 64;
    int64_t offset = 0;
    for (const size_t other : conflicts) {
      if (buffers[other].offset >= offset + bytes) break;
      offset = std::max(offset, buffers[other].offset + (buffers[other].bytes + 63) / 64 * 64);
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
