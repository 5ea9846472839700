// What a model consists of, and what quantization would make of it.
#pragma once

#include "core/octavo.h"

namespace octavo {

struct Inspection {
  bool quantized = false;  // the model is
  int64_t parameters = 0, constant_bytes = 0;
  /// What has become of each operator; in a float model, what static quantization with its default
  /// options would make of it. Conversions are left out.
  std::vector<NodeReport> nodes;
};
Inspection inspect(const Model& model);

/// "i8 per_channel", "u8": of a node's first quantized constant and of its first other quantized
/// input; empty if there is none.
struct Precisions {
  std::string weights, activations;
};
Precisions precisions(const Graph& graph, const Node& node);

}  // namespace octavo
