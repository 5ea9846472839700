#include "native/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "runtime/shared_work.h"

namespace octavo {
namespace {

struct NativeWaiting {
  /// About 20 us: longer than the gap between two operators of a network, much shorter than a
  /// wake-up by the kernel is worth when the gap is longer.
  static constexpr int kSpins = 1000;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }
  static void wait(std::atomic<uint32_t>& word, uint32_t old) {
    word.wait(old, std::memory_order_acquire);
  }
  static void notify(std::atomic<uint32_t>& word) { word.notify_all(); }
};

class StdThreadPool final : public ThreadPool {
 public:
  explicit StdThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work_.serve(); });
  }
  ~StdThreadPool() override {
    work_.stop();
    for (std::thread& thread : workers_) thread.join();
  }

  int thread_count() const override { return static_cast<int>(workers_.size()) + 1; }
  void run(int64_t count, const std::function<void(int64_t)>& fn) override { work_.run(count, fn); }

 private:
  SharedWork<NativeWaiting> work_;
  std::vector<std::thread> workers_;
};

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
