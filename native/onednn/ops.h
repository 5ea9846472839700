// The operators that the primitives backend can compile, a row each.
#pragma once

#include <memory>
#include <span>

#include "native/onednn/tail.h"
#include "runtime/ops/spatial.h"

namespace octavo::onednn {

struct PrimitiveDef {
  const char* name;  // "conv_onednn": shown in timings
  OpKind op;
  ClaimLayout layout;
  bool (*supports)(const PlanGraph& graph, const Node& node);
  Result<std::unique_ptr<Step>> (*create)(const PlanGraph& graph, const Node& node, Layout layout);
  /// With a function of the results, whose output the step writes; nullptr: cannot.
  Result<std::unique_ptr<Step>> (*create_with_tail)(const PlanGraph& graph, const Node& node,
                                                    Layout layout, const Eltwise& tail,
                                                    ValueId output) = nullptr;
};

std::span<const PrimitiveDef> conv_primitives();    // conv.cc
std::span<const PrimitiveDef> matmul_primitives();  // matmul.cc
std::span<const PrimitiveDef> simple_primitives();  // simple_ops.cc

/// Whether oneDNN computes a node faster than the portable kernels do.
bool pays(const PlanGraph& graph, const Node& node);  // claim_rule.cc

/// Which nodes oneDNN computes, by primitives or by its Graph API.
bool supports_conv(const PlanGraph& graph, const Node& node);    // conv.cc
bool supports_matmul(const PlanGraph& graph, const Node& node);  // matmul.cc

/// Padding behind the last element of spatial dimension i that gives the output its size.
inline int64_t window_end_pad(const ops::Window& window, int i, int64_t input, int64_t output) {
  const auto d = static_cast<size_t>(i);
  return (output - 1) * window.stride[d] + window.extent(i) - input - window.pad_begin[d];
}

}  // namespace octavo::onednn
