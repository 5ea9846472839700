// The network on which tuning is tested, and which of its layers are quantized.
#pragma once

#include <algorithm>

#include "core/octavo.h"
#include "tests/graph_builder.h"

namespace octavo {

/// conv1 -> conv2 -> conv3 -> flatten -> fc, on images of `size` by `size`.
inline Graph tuning_chain(int64_t size = 4) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 4, size, size});
  for (const char* name : {"conv1", "conv2", "conv3"}) {
    x = b.node(OpKind::kConv, {x, b.random(concat("w_", name), {4, 4, 1, 1})}, name);
  }
  x = b.node(OpKind::kFlatten, {x}, "flatten");
  x = b.node(OpKind::kGemm, {x, b.random("w_fc", {5, 4 * size * size}, 0.2f)}, "fc",
             {{"transB", int64_t{1}}});
  return b.output(x).build();
}

/// Of the node's weights; nullptr: they are float.
inline const QuantParams* weight_quant(const Model& model, const std::string& node) {
  const auto found = std::ranges::find(model.graph().nodes, node, &Node::name);
  if (found == model.graph().nodes.end()) return nullptr;
  return model.graph().value(found->inputs[1]).quant.get();
}

}  // namespace octavo
