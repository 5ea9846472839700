// One function for all orders. The standard library's sorting is made anew for every order, and
// each time costs kilobytes of WebAssembly.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace octavo {

/// Puts the `count` smallest of `indices` first, in order; equal ones by index.
void sort_first(std::span<int64_t> indices, int64_t count,
                const std::function<bool(int64_t, int64_t)>& before);

/// 0 ... count - 1 in order; equal ones by index.
std::vector<int64_t> sorted_indices(size_t count,
                                    const std::function<bool(int64_t, int64_t)>& before);

}  // namespace octavo
