// Looks for signs of wrong calibration data: quantization would go on, with ranges that real data
// do not have.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "core/octavo.h"

namespace octavo {

class DataLint {
 public:
  /// Takes one sample's feeds.
  void observe(const NamedTensors& feeds);
  /// A sentence for each finding: few samples, samples that occur twice or are constant, and inputs
  /// whose size does not fit the weights that read them (pixels of 0 to 255 where the model was
  /// trained on normalized ones, or the other way round).
  std::vector<std::string> warnings(const Graph& graph) const;

 private:
  struct Input {
    std::string name;
    int64_t constant = 0;  // samples with one value only
    double min = 0, max = 0, square_sum = 0, elements = 0;
  };
  Input& input(const std::string& name);

  int64_t samples_ = 0, duplicates_ = 0;
  std::unordered_set<uint64_t> hashes_;  // of the first samples
  std::vector<Input> inputs_;
};

/// Hash of a sample's names, types, shapes and elements.
uint64_t hash_feeds(const NamedTensors& feeds);

}  // namespace octavo
