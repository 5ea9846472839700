// The threads of a module.
#pragma once

#include <memory>

#include "runtime/parallel.h"

namespace octavo::wasm {

/// The module's pool; nullptr in modules without threads, or with one. The threads begin with the
/// first call and are never joined: they end with the module.
std::shared_ptr<ThreadPool> thread_pool();

}  // namespace octavo::wasm
