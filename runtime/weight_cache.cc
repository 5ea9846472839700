#include "runtime/weight_cache.h"

#include <cstdlib>

#include "runtime/memory.h"

namespace octavo {

void PackingScope::keep() {
  for (Made& made : made_) cache_->add(made.key, std::move(made.data), made.bytes);
  made_.clear();
}

uint64_t PackingScope::next_key(uint64_t layout) {
  if (count_ == 0) key_ = cache_->key(graph_, claim_, backend_);
  return mix(mix(key_, count_++), layout);
}

void PackedBlock::assign(size_t bytes, uint64_t layout, PackingScope* scope) {
  const bool caches = scope != nullptr && scope->cache_ != nullptr;
  const uint64_t key = caches ? scope->next_key(layout) : 0;
  if (caches) {
    if (auto found = scope->cache_->find(key, bytes); found != nullptr) {
      memory_ = std::const_pointer_cast<void>(std::move(found));
      is_filled_ = true;
      return;
    }
  }
  memory_ = allocate_neighbour(bytes);
  is_filled_ = false;
  if (memory_ == nullptr) std::abort();  // as operator new without exceptions does
  if (caches) scope->made_.push_back({key, memory_, bytes});
}

}  // namespace octavo
