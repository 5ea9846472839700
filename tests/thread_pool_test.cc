#include "native/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace octavo {
namespace {

TEST(ThreadPool, DoesEveryItemOnceInManyShortRuns) {
  const auto pool = make_thread_pool(4);
  ASSERT_EQ(pool->thread_count(), 4);
  for (int run = 0; run < 5000; ++run) {
    const int64_t count = 1 + run % 17;
    std::vector<std::atomic<int>> done(static_cast<size_t>(count));
    pool->run(count, [&](int64_t i) { done[static_cast<size_t>(i)].fetch_add(1); });
    for (const auto& item : done) ASSERT_EQ(item.load(), 1);
  }
}

TEST(ThreadPool, NestedAndConcurrentRunsFinish) {
  const auto pool = make_thread_pool(3);
  std::atomic<int> total{0};
  const auto nested = [&] {
    for (int i = 0; i < 200; ++i) {
      pool->run(5, [&](int64_t) { pool->run(4, [&](int64_t) { total.fetch_add(1); }); });
    }
  };
  std::thread other(nested);
  nested();
  other.join();
  EXPECT_EQ(total.load(), 2 * 200 * 5 * 4);
}

TEST(ThreadPool, ThreadsThatRunSessionsAtOnceShareTheCores) {
  const auto pool = make_thread_pool(4);
  // Alone: others of this process may have used a pool a moment ago.
  while (pool->thread_count() != 4) std::this_thread::yield();
  std::atomic<bool> stop{false};
  std::atomic<int> calls{0};
  std::thread other([&] {
    while (!stop) {
      pool->run(8, [](int64_t) {});
      ++calls;
    }
  });
  // Both see two users before long, and no more threads take part than each has.
  const int cores = std::max(4, available_cores());
  while (calls == 0 || pool->thread_count() != std::min(cores / 2, 4)) std::this_thread::yield();
  std::mutex mutex;
  std::set<std::thread::id> seen;
  pool->run(64, [&](int64_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_LE(seen.size(), static_cast<size_t>(std::min(cores / 2, 4)));
  stop = true;
  other.join();
  while (pool->thread_count() != 4) std::this_thread::yield();
}

}  // namespace
}  // namespace octavo
