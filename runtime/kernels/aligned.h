// Arrays that vectors are loaded from: a load across two cache lines costs twice.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "runtime/memory.h"

namespace octavo::kernels {

template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, kAlignment); }
  bool operator==(const CacheLineAllocator&) const = default;
};

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

/// Bytes that live as long as those of the same plan's other steps; copies share them.
class ZeroedBlock {
 public:
  void assign(size_t bytes) {
    memory_ = allocate_neighbour(bytes);
    if (memory_ == nullptr) std::abort();  // as operator new without exceptions does
  }
  std::byte* data() { return static_cast<std::byte*>(memory_.get()); }
  const std::byte* data() const { return static_cast<const std::byte*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

}  // namespace octavo::kernels
