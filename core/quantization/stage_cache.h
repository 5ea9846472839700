// What finished stages found, for other recipes over the same model and data: tuning tries many
// that begin alike.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/octavo.h"

namespace octavo {

class StageCache {
 public:
  /// What the first stages of a recipe made.
  struct Prefix {
    std::shared_ptr<const Graph> graph;
    QuantizeReport report;
  };
  /// `stages`: JSON of the recipe's first stages.
  const Prefix* find(const std::string& stages) const {
    const auto found = prefixes_.find(stages);
    return found == prefixes_.end() ? nullptr : &found->second;
  }
  void store(const std::string& stages, Prefix prefix) {
    prefixes_.insert_or_assign(stages, std::move(prefix));
  }

 private:
  std::map<std::string, Prefix> prefixes_;
};

}  // namespace octavo
