// Packed weights that outlive a session: kernels ask here for memory, and find it filled if a cache
// has what they would pack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/backend.h"
#include "runtime/hash.h"

namespace octavo {

/// Used by any number of sessions, on any threads.
class WeightCache {
 public:
  virtual ~WeightCache() = default;
  /// Of all that the packed weights of a claim depend on: its nodes, their constants and types.
  virtual uint64_t key(const PlanGraph& graph, const Claim& claim,
                       std::string_view backend) const = 0;
  /// The `bytes` bytes under the key; nullptr: there are none. They are not to be written to.
  virtual std::shared_ptr<const void> find(uint64_t key, size_t bytes) = 0;
  virtual void add(uint64_t key, std::shared_ptr<const void> data, size_t bytes) = 0;
  /// Called when a session's plan is complete.
  virtual void save() = 0;
};

/// What the packings of one claim have in common, while it is compiled.
class PackingScope {
 public:
  PackingScope(WeightCache* cache, const PlanGraph& graph, const Claim& claim,
               std::string_view backend)
      : cache_(cache), graph_(graph), claim_(claim), backend_(backend) {}
  PackingScope(const PackingScope&) = delete;
  PackingScope& operator=(const PackingScope&) = delete;

  /// Gives the cache what it did not have: the claim is compiled.
  void keep();

 private:
  friend class PackedBlock;
  struct Made {
    uint64_t key;
    std::shared_ptr<const void> data;
    size_t bytes;
  };
  uint64_t next_key(uint64_t layout);

  WeightCache* cache_;
  const PlanGraph& graph_;
  const Claim& claim_;
  std::string_view backend_;
  uint64_t key_ = 0, count_ = 0;
  std::vector<Made> made_;
};

/// Memory of a packing, which lives as long as those of the same plan's other steps; copies share
/// it.
class PackedBlock {
 public:
  /// Zeros, to be filled by the caller, or what a cache has. `layout`: a hash of how it is packed.
  /// `scope`: of the plan's graph; nullptr: no cache is to keep it.
  void assign(size_t bytes, uint64_t layout, PackingScope* scope);
  /// From a cache: must not be written to.
  bool is_filled() const { return is_filled_; }
  std::byte* data() { return static_cast<std::byte*>(memory_.get()); }
  const std::byte* data() const { return static_cast<const std::byte*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
  bool is_filled_ = false;
};

}  // namespace octavo
