// Several requests as one run of a model whose batch is open.
#pragma once

#include <optional>
#include <vector>

#include "core/octavo.h"

namespace octavo {

/// Joins requests along the batch: the open dimension with which the first input begins, wherever
/// the other inputs and the outputs have it. Inputs without it are the same for all requests.
class Batch {
 public:
  /// Error kInvalidArgument: the first input begins with no open dimension.
  static Result<Batch> of(const Model& model);

  /// nullopt: they cannot be joined, for what must be the same is not.
  Result<std::optional<NamedTensors>> join(std::span<const NamedTensors> requests) const;
  /// The results of each of the requests that were joined. Error kShapeMismatch: an output does not
  /// have the batch.
  Result<std::vector<NamedTensors>> split(const NamedTensors& outputs,
                                          std::span<const NamedTensors> requests) const;

 private:
  explicit Batch(std::shared_ptr<const Graph> graph) : graph_(std::move(graph)) {}
  int64_t symbol() const { return graph_->value(graph_->inputs[0]).shape[0]; }
  int axis_of(const Shape& declared) const;

  std::shared_ptr<const Graph> graph_;
};

}  // namespace octavo
