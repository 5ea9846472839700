// Feeds held in memory, as a data loader.
#pragma once

#include "core/octavo.h"

namespace octavo {

/// `feeds` must outlive it.
class Replay : public DataLoader {
 public:
  explicit Replay(const std::vector<NamedTensors>& feeds) : feeds_(feeds) {}
  Result<std::optional<NamedTensors>> next() override {
    if (at_ == feeds_.size()) return std::nullopt;
    return feeds_[at_++];
  }
  Status rewind() override {
    at_ = 0;
    return {};
  }

 private:
  const std::vector<NamedTensors>& feeds_;
  size_t at_ = 0;
};

}  // namespace octavo
