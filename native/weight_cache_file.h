// Packed weights in a file, mapped so that all processes that read it share one copy in memory.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "native/files.h"
#include "runtime/weight_cache.h"

namespace octavo {

/// The file keeps what the first plan of a session needs. What is missing, damaged, or packed for
/// another model, shape or machine is packed as without a file, and the file is written anew. A
/// file that is something else is left alone.
class WeightCacheFile final : public WeightCache {
 public:
  explicit WeightCacheFile(std::string path);

  uint64_t key(const PlanGraph& graph, const Claim& claim, std::string_view backend) const override;
  std::shared_ptr<const void> find(uint64_t key, size_t bytes) override;
  void add(uint64_t key, std::shared_ptr<const void> data, size_t bytes) override;
  void save() override;

  /// How many packings were found, and how many were not.
  int64_t found() const;
  int64_t made() const;
  /// Why the file could not be read or written; empty: nothing is wrong.
  std::string problem() const;

 private:
  struct Packing {
    std::shared_ptr<const void> data;
    size_t bytes = 0;
    uint64_t hash = 0;
    bool is_used = false;  // checked against its hash, or new
  };
  void read();

  std::string path_;
  mutable std::mutex mutex_;  // of what follows
  std::map<uint64_t, Packing> packings_;
  std::string problem_;
  int64_t found_ = 0, made_ = 0;
  bool is_saved_ = false;
  bool is_foreign_ = false;
};

}  // namespace octavo
