// The work that the threads of a pool share, without the threads: whoever makes them lets each call
// serve().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace octavo {

/// Items are claimed one by one from `state_`: the run's number in the upper half; in the lower how
/// many the calling thread has taken, the first ones, and above how many the workers have, the last
/// ones: each finds in its cache what the run before left there. A worker that wakes late finds the
/// number changed and its claim fails, so a run never waits for workers that did no work.
///
/// `Waiting` is how a thread of the platform waits: kSpins (how often it looks before it sleeps),
/// pause(), wait(word, old) until the word is not `old` any more, notify(word).
template <class Waiting>
class SharedWork {
 public:
  /// ThreadPool::run.
  void run(int64_t count, const std::function<void(int64_t)>& fn) {
    // Nested and concurrent runs do their own work: the threads are busy already.
    if (inside_ || count <= 1 || count >= kMost ||
        busy_.exchange(true, std::memory_order_acquire)) {
      for (int64_t i = 0; i < count; ++i) fn(i);
      return;
    }
    fn_.store(&fn, std::memory_order_relaxed);
    count_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    remaining_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
    number_ += uint64_t{1} << 32;
    state_.store(number_, std::memory_order_release);
    epoch_.fetch_add(1);
    wake(epoch_);

    work(1);
    for (int spins = 0; uint32_t left = remaining_.load(std::memory_order_acquire); ++spins) {
      if (spins < Waiting::kSpins) {
        Waiting::pause();
      } else {
        sleep(remaining_, left);
      }
    }
    // No claim can succeed any more: fn_ and count_ may change.
    state_.store(number_ | kClosed, std::memory_order_release);
    busy_.store(false, std::memory_order_release);
  }

  /// What a worker does, until stop().
  void serve() {
    uint32_t seen = 0;
    while (true) {
      uint32_t epoch = epoch_.load(std::memory_order_acquire);
      for (int spins = 0; epoch == seen && spins < Waiting::kSpins; ++spins) {
        Waiting::pause();
        epoch = epoch_.load(std::memory_order_acquire);
      }
      if (epoch == seen) {
        sleep(epoch_, seen);
        continue;
      }
      seen = epoch;
      if (stop_.load(std::memory_order_relaxed)) return;
      work(kTaken + 1);
    }
  }

  void stop() {
    stop_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1);
    wake(epoch_);
  }

 private:
  static constexpr uint64_t kClosed = 0xFFFFFFFF, kTaken = 0xFFFF;
  static constexpr int64_t kMost = kTaken;

  // `claim`: what it adds to the state.
  void work(uint64_t claim) {
    inside_ = true;
    uint64_t state = state_.load(std::memory_order_acquire);
    while (true) {
      const uint64_t first = state & kTaken, last = state >> 16 & kTaken;
      const auto* fn = fn_.load(std::memory_order_relaxed);
      const uint64_t count = count_.load(std::memory_order_relaxed);
      if (first + last >= count) break;
      if (!state_.compare_exchange_weak(state, state + claim, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
        continue;
      }
      (*fn)(static_cast<int64_t>(claim == 1 ? first : count - 1 - last));
      if (remaining_.fetch_sub(1) == 1) wake(remaining_);
      state = state_.load(std::memory_order_acquire);
    }
    inside_ = false;
  }

  // Waking is a call out of WebAssembly or into the system, even if nobody sleeps. All orders are
  // sequential: whoever changes a word sees the sleeper here, or the sleeper sees the changed word.
  void sleep(std::atomic<uint32_t>& word, uint32_t old) {
    sleepers_.fetch_add(1);
    Waiting::wait(word, old);
    sleepers_.fetch_sub(1);
  }
  void wake(std::atomic<uint32_t>& word) {
    if (sleepers_.load() != 0) Waiting::notify(word);
  }

  static inline thread_local bool inside_ = false;

  std::atomic<bool> busy_{false};
  std::atomic<const std::function<void(int64_t)>*> fn_{nullptr};
  std::atomic<uint32_t> count_{0};
  alignas(64) std::atomic<uint64_t> state_{kClosed};
  alignas(64) std::atomic<uint32_t> remaining_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<uint32_t> sleepers_{0};
  uint64_t number_ = 0;
  std::atomic<bool> stop_{false};
};

}  // namespace octavo
