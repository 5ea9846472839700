// The operating system's threads behind runtime's hook.
#pragma once

#include <memory>

#include "runtime/parallel.h"

namespace octavo {

/// A pool of up to `threads` threads, the calling one among them; 0: one per core that this process
/// may use. All pools, and oneDNN, share OpenMP's threads. Threads that run sessions at the same
/// time share the cores: each is given an equal part, and thread_count() says how many that is.
std::shared_ptr<ThreadPool> make_thread_pool(int threads);

/// Cores that this process may use.
int available_cores();

}  // namespace octavo
