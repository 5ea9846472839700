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

/// To be called first in main(). OpenMP's threads spin while they wait for the next piece of work,
/// for some 5 ms, in which the thread that they wait for may not get a core where others work too.
/// How long is read from the environment before main(): a program in which neither GOMP_SPINCOUNT
/// nor OMP_WAIT_POLICY is set starts again with a tenth of that. If it cannot, it goes on as it is.
void spin_less(char** argv);

}  // namespace octavo
