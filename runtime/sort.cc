#include "runtime/sort.h"

#include <algorithm>
#include <numeric>

namespace octavo {

void sort_first(std::span<int64_t> indices, int64_t count,
                const std::function<bool(int64_t, int64_t)>& before) {
  std::partial_sort(indices.begin(), indices.begin() + count, indices.end(),
                    [&](int64_t a, int64_t b) { return before(a, b) || (!before(b, a) && a < b); });
}

std::vector<int64_t> sorted_indices(size_t count,
                                    const std::function<bool(int64_t, int64_t)>& before) {
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  sort_first(indices, static_cast<int64_t>(count), before);
  return indices;
}

}  // namespace octavo
