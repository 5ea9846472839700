// oneDNN in OpenMP's threads, of which a session uses as many as its pool says. A primitive divides
// its work, and sizes its scratchpad, when it is made: for as many threads as the thread that makes
// it could start then.
#pragma once

#include <omp.h>

namespace octavo::onednn {

/// While it lives, oneDNN works in `made_for` threads when this thread calls it. If only `now` are
/// left, fewer than that, since several sessions run at once, it works in this one alone: a
/// primitive runs in all threads that it was made for, or in one.
class ThreadScope {
 public:
  explicit ThreadScope(int made_for) : ThreadScope(made_for, made_for) {}
  ThreadScope(int made_for, int now)
      : outer_threads_(omp_get_max_threads()), alone_(now < made_for) {
    omp_set_num_threads(made_for);
    if (!alone_) return;
    outer_levels_ = omp_get_max_active_levels();
    omp_set_max_active_levels(0);
  }
  ~ThreadScope() {
    if (alone_) omp_set_max_active_levels(outer_levels_);
    omp_set_num_threads(outer_threads_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int outer_threads_, outer_levels_ = 0;
  bool alone_;
};

}  // namespace octavo::onednn
