// The operating system's threads behind runtime's hook.
#pragma once

#include <memory>

#include "runtime/parallel.h"

namespace octavo {

/// A pool in which the calling thread takes part: `threads` - 1 workers are started. 0 means one
/// thread per core that this process may use. nullptr for one thread, which needs no pool.
std::shared_ptr<ThreadPool> make_thread_pool(int threads);

/// Cores that this process may use.
int available_cores();

}  // namespace octavo
