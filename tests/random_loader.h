// A data loader of random samples.
#pragma once

#include "core/octavo.h"
#include "tests/graph_builder.h"

namespace octavo {

// Samples of the model's inputs, normally distributed; open dimensions are 1.
class RandomLoader : public DataLoader {
 public:
  RandomLoader(const Graph& graph, int count) : graph_(graph), count_(count) {}
  Result<std::optional<NamedTensors>> next() override {
    if (served_ == count_) return std::nullopt;
    NamedTensors feeds;
    for (const ValueId id : graph_.inputs) {
      const Value& value = graph_.value(id);
      Shape shape = value.shape;
      for (int i = 0; i < shape.rank(); ++i) shape[i] = std::max<int64_t>(shape[i], 1);
      feeds.emplace_back(value.name,
                         GraphBuilder::random_tensor(concat(value.name, served_), shape));
    }
    ++served_;
    ++served_in_all_;
    if (change) change(feeds);
    return feeds;
  }
  Status rewind() override {
    served_ = 0;
    return {};
  }
  int served() const { return served_; }
  /// Over all passes.
  int64_t served_in_all() const { return served_in_all_; }

  std::function<void(NamedTensors&)> change = {};

 private:
  const Graph& graph_;
  int count_, served_ = 0;
  int64_t served_in_all_ = 0;
};

}  // namespace octavo
