#include "runtime/memory.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "runtime/ceil_div.h"

namespace octavo {
namespace {

constexpr size_t kLine = 64, kLargePage = size_t{2} << 20, kShared = 2 * kLargePage;

std::atomic<MemoryAdvice> process_advice{nullptr};

// For what takes no longer than a calloc().
class SpinLock {
 public:
  explicit SpinLock(std::atomic_flag& busy) : busy_(busy) {
    while (busy_.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~SpinLock() { busy_.clear(std::memory_order_release); }
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

 private:
  std::atomic_flag& busy_;
};

}  // namespace

void set_memory_advice(MemoryAdvice advice) { process_advice = advice; }

std::shared_ptr<void> allocate_zeroed(size_t bytes) {
  const MemoryAdvice advise = process_advice;
  if (advise == nullptr || bytes < kLargePage) {
    const size_t rounded = std::max(round_up(bytes, kLine), kLine);
    void* memory = std::aligned_alloc(kLine, rounded);
    if (memory == nullptr) return nullptr;
    std::memset(memory, 0, rounded);
    return {memory, std::free};
  }
  // New pages of the system are zero: calloc() does not touch them.
  void* memory = std::calloc(1, bytes + kLargePage);
  if (memory == nullptr) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  auto* aligned = static_cast<std::byte*>(memory) + (round_up(address, kLargePage) - address);
  advise(aligned, bytes / kLargePage * kLargePage);
  return {aligned, [memory](void*) { std::free(memory); }};
}

std::shared_ptr<void> allocate_neighbour(size_t bytes) {
  if (process_advice == nullptr || bytes > kShared / 2) return allocate_zeroed(bytes);
  // Not thread_local: modules of WebAssembly without shared memory have no such variables.
  static std::atomic_flag busy;
  static std::weak_ptr<void> block;
  static size_t used = 0;
  const SpinLock lock(busy);
  const size_t rounded = round_up(bytes, kLine);
  std::shared_ptr<void> shared = block.lock();
  if (shared == nullptr || used + rounded > kShared) {
    shared = allocate_zeroed(kShared);
    if (shared == nullptr) return nullptr;
    block = shared;
    used = 0;
  }
  auto* part = static_cast<std::byte*>(shared.get()) + used;
  used += rounded;
  return {shared, part};
}

}  // namespace octavo
