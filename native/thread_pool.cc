#include "native/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace octavo {
namespace {

/// About 20 us: longer than the gap between two operators of a network, much shorter than a
/// wake-up by the kernel is worth when the gap is longer.
constexpr int kSpins = 1000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Items are claimed one by one from `state_`: the run's number in the upper half, the next item in
/// the lower. A worker that wakes late finds the number changed and its claim fails, so a run never
/// waits for workers that did no work.
class StdThreadPool final : public ThreadPool {
 public:
  explicit StdThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { worker(); });
  }
  ~StdThreadPool() override {
    stop_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (std::thread& thread : workers_) thread.join();
  }

  int thread_count() const override { return static_cast<int>(workers_.size()) + 1; }

  void run(int64_t count, const std::function<void(int64_t)>& fn) override {
    // Nested and concurrent runs do their own work: the threads are busy already.
    if (inside_ || count <= 1 || count >= static_cast<int64_t>(kClosed) ||
        busy_.exchange(true, std::memory_order_acquire)) {
      for (int64_t i = 0; i < count; ++i) fn(i);
      return;
    }
    fn_.store(&fn, std::memory_order_relaxed);
    count_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    remaining_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    number_ += uint64_t{1} << 32;
    state_.store(number_, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();

    work();
    for (int spins = 0; uint32_t left = remaining_.load(std::memory_order_acquire); ++spins) {
      if (spins < kSpins) {
        pause();
      } else {
        remaining_.wait(left, std::memory_order_acquire);
      }
    }
    // No claim can succeed any more: fn_ and count_ may change.
    state_.store(number_ | kClosed, std::memory_order_release);
    busy_.store(false, std::memory_order_release);
  }

 private:
  static constexpr uint64_t kClosed = 0xFFFFFFFF;

  void work() {
    inside_ = true;
    uint64_t state = state_.load(std::memory_order_acquire);
    while (true) {
      const uint64_t item = state & kClosed;
      const auto* fn = fn_.load(std::memory_order_relaxed);
      if (item == kClosed || item >= count_.load(std::memory_order_relaxed)) break;
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
        continue;
      }
      (*fn)(static_cast<int64_t>(item));
      if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) remaining_.notify_one();
      state = state_.load(std::memory_order_acquire);
    }
    inside_ = false;
  }

  void worker() {
    uint32_t seen = 0;
    while (true) {
      uint32_t epoch = epoch_.load(std::memory_order_acquire);
      for (int spins = 0; epoch == seen && spins < kSpins; ++spins) {
        pause();
        epoch = epoch_.load(std::memory_order_acquire);
      }
      if (epoch == seen) {
        epoch_.wait(seen, std::memory_order_acquire);
        continue;
      }
      seen = epoch;
      if (stop_.load(std::memory_order_relaxed)) return;
      work();
    }
  }

  static thread_local bool inside_;

  std::atomic<bool> busy_{false};
  std::atomic<const std::function<void(int64_t)>*> fn_{nullptr};
  std::atomic<uint32_t> count_{0};
  alignas(64) std::atomic<uint64_t> state_{kClosed};
  alignas(64) std::atomic<uint32_t> remaining_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  uint64_t number_ = 0;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

thread_local bool StdThreadPool::inside_ = false;

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::shared_ptr<ThreadPool> make_thread_pool(int threads) {
  const int count = threads > 0 ? threads : available_cores();
  return count == 1 ? nullptr : std::make_shared<StdThreadPool>(std::min(count, 1024));
}

}  // namespace octavo
