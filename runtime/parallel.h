// The one hook for threads. Results never depend on the number of threads: work is split into items
// that write to places of their own.
#pragma once

#include <cstdint>
#include <functional>

namespace octavo {

class ThreadPool {
 public:
  virtual ~ThreadPool() = default;
  /// Threads that a run started now would use.
  virtual int thread_count() const = 0;
  /// The most that thread_count() says.
  virtual int max_thread_count() const { return thread_count(); }
  /// Calls fn(i) for every i in [0, count), on any thread; returns when all are done.
  virtual void run(int64_t count, const std::function<void(int64_t)>& fn) = 0;
};

/// fn(begin, end) over [0, count) in ranges of at least `grain` items. On the calling thread when
/// there is no pool or too little work.
template <class Fn>
void parallel_for(ThreadPool* pool, int64_t count, int64_t grain, const Fn& fn) {
  if (count <= 0) return;
  const int64_t threads = pool == nullptr ? 1 : pool->thread_count();
  // Four ranges a thread even out uneven progress.
  int64_t ranges = threads == 1 ? 1 : (count + grain - 1) / (grain < 1 ? 1 : grain);
  if (ranges > threads * 4) ranges = threads * 4;
  if (ranges <= 1) {
    fn(int64_t{0}, count);
    return;
  }
  const auto range = [&](int64_t r) { fn(count * r / ranges, count * (r + 1) / ranges); };
  pool->run(ranges, std::ref(range));  // by reference: a std::function of the lambda would allocate
}

}  // namespace octavo
