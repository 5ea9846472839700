#include "wasm/runtime/threads.h"

namespace octavo::wasm {

std::shared_ptr<ThreadPool> thread_pool() { return nullptr; }

}  // namespace octavo::wasm
