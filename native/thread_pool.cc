#include "native/thread_pool.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace octavo {
namespace {

using Clock = std::chrono::steady_clock;

/// A thread that has asked for threads within this time is still at it.
constexpr int64_t kActiveMs = 100;

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
      .count();
}

/// When each calling thread last used a pool. The slots are a thread's while it lives; threads
/// beyond their number are not counted.
class Callers {
 public:
  Callers() {
    for (std::atomic<int64_t>& last : last_use_) last = kFree;
  }

  /// How many threads use pools, the calling one among them.
  int count() {
    thread_local Caller caller(*this);
    const int64_t now = now_ms();
    if (caller.slot != nullptr) caller.slot->store(now, std::memory_order_relaxed);
    if (now != caller.counted_at) {
      caller.counted_at = now;
      caller.active = static_cast<int>(std::ranges::count_if(last_use_, [&](const auto& last) {
        return now - last.load(std::memory_order_relaxed) < kActiveMs;
      }));
    }
    return std::max(caller.active, 1);
  }

 private:
  static constexpr int64_t kFree = -kActiveMs, kTaken = kFree - 1;

  struct Caller {
    explicit Caller(Callers& callers) {
      for (std::atomic<int64_t>& last : callers.last_use_) {
        int64_t free = kFree;
        if (!last.compare_exchange_strong(free, kTaken)) continue;
        slot = &last;
        return;
      }
    }
    ~Caller() {
      if (slot != nullptr) slot->store(kFree);
    }
    std::atomic<int64_t>* slot = nullptr;
    int64_t counted_at = kFree;
    int active = 1;
  };

  std::array<std::atomic<int64_t>, 64> last_use_;
};

Callers& callers() {
  static Callers all;
  return all;
}

/// OpenMP's threads, which oneDNN's primitives use too: there is one pool.
class OpenMPThreadPool final : public ThreadPool {
 public:
  explicit OpenMPThreadPool(int threads)
      : threads_(threads), cores_(std::max(threads, available_cores())) {}

  int max_thread_count() const override { return threads_; }
  int thread_count() const override { return std::clamp(cores_ / callers().count(), 1, threads_); }

  void run(int64_t count, const std::function<void(int64_t)>& fn) override {
    const auto threads = static_cast<int>(std::min<int64_t>(thread_count(), count));
    if (threads <= 1 || omp_in_parallel() != 0) {
      for (int64_t i = 0; i < count; ++i) fn(i);
      return;
    }
    // Each thread begins with the same part of the items every time, which the step before has left
    // in its cache, then helps the others.
    struct alignas(64) Part {
      std::atomic<int64_t> next;
      int64_t end;
    };
    std::array<Part, kMostParts> parts;
    const int used = std::min(threads, kMostParts);
    for (int p = 0; p < used; ++p) {
      parts[static_cast<size_t>(p)].next = count * p / used;
      parts[static_cast<size_t>(p)].end = count * (p + 1) / used;
    }
#pragma omp parallel num_threads(threads)
    for (int p = 0, own = omp_get_thread_num(); p < used; ++p) {
      Part& part = parts[static_cast<size_t>((own + p) % used)];
      for (int64_t i; (i = part.next.fetch_add(1, std::memory_order_relaxed)) < part.end;) fn(i);
    }
  }

 private:
  static constexpr int kMostParts = 64;

  int threads_, cores_;
};

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void spin_less(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || ::setenv("GOMP_SPINCOUNT", "20000", 1) != 0) return;
  ::execv(program.c_str(), argv);
}

std::shared_ptr<ThreadPool> make_thread_pool(int threads) {
  return std::make_shared<OpenMPThreadPool>(threads > 0 ? std::min(threads, 1024)
                                                        : available_cores());
}

}  // namespace octavo
