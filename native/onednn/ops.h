// The operators that the primitives backend can compile, a row each.
#pragma once

#include <memory>
#include <span>

#include "runtime/backend.h"

namespace octavo::onednn {

struct PrimitiveDef {
  const char* name;  // "conv_onednn": shown in timings
  OpKind op;
  ClaimLayout layout;
  bool (*supports)(const PlanGraph& graph, const Node& node);
  Result<std::unique_ptr<Step>> (*create)(const PlanGraph& graph, const Node& node, Layout layout);
};

std::span<const PrimitiveDef> conv_primitives();    // conv.cc
std::span<const PrimitiveDef> matmul_primitives();  // matmul.cc

}  // namespace octavo::onednn
