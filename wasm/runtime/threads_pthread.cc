#include <emscripten/val.h>
#include <pthread.h>

#include "runtime/shared_work.h"
#include "wasm/runtime/threads.h"

namespace octavo::wasm {
namespace {

/// Atomics.wait, which a page's own thread may not do: the TypeScript layer gives it no threads.
struct WasmWaiting {
  /// About 0.1 ms, more than most steps that run on one thread: waking a sleeping worker takes that
  /// long too. With a tenth of it, two threads ran MobileNetV2 no faster than one.
  static constexpr int kSpins = 300'000;

  static void pause() {}
  static void wait(std::atomic<uint32_t>& word, uint32_t old) {
    __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(&word), static_cast<int>(old), -1);
  }
  static void notify(std::atomic<uint32_t>& word) {
    __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&word), ~0U);
  }
};

class WasmThreadPool final : public ThreadPool {
 public:
  explicit WasmThreadPool(int threads) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t{1} << 20);
    for (int i = 1; i < threads; ++i) {
      pthread_t thread;
      const auto serve = [](void* work) -> void* {
        static_cast<SharedWork<WasmWaiting>*>(work)->serve();
        return nullptr;
      };
      if (pthread_create(&thread, &attributes, serve, &work_) == 0) ++workers_;
    }
    pthread_attr_destroy(&attributes);
  }

  int thread_count() const override { return workers_ + 1; }
  void run(int64_t count, const std::function<void(int64_t)>& fn) override { work_.run(count, fn); }

 private:
  SharedWork<WasmWaiting> work_;
  int workers_ = 0;
};

}  // namespace

std::shared_ptr<ThreadPool> thread_pool() {
  static const auto pool = [] {
    const int threads = emscripten::val::module_property("threads").as<int>();
    return threads > 1 ? std::make_shared<WasmThreadPool>(threads) : nullptr;
  }();
  return pool;
}

}  // namespace octavo::wasm
