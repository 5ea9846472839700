#include "core/quantization/useful_range.h"

#include <algorithm>
#include <limits>

namespace octavo {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Range kAll{-kInfinity, kInfinity};

// Beyond these the function is constant to within half a step of its 8-bit output (x * f(x): next
// to zero).
struct Saturating {
  OpKind kind;
  Range range;
};
constexpr Saturating kSaturating[] = {{OpKind::kSigmoid, {-8, 8}},
                                      {OpKind::kTanh, {-4, 4}},
                                      {OpKind::kHardSwish, {-3, kInfinity}},
                                      {OpKind::kGelu, {-5, kInfinity}}};

// value * f(value), where `node` computes f(value).
bool multiplies_itself(const Graph& graph, ValueId value, const Node& node) {
  const ValueId made = node.output(0);
  const auto reads = [&](const Node& other) { return std::ranges::contains(other.inputs, made); };
  return std::ranges::count_if(graph.nodes, reads) == 1 &&
         !std::ranges::contains(graph.outputs, made) &&
         std::ranges::any_of(graph.nodes, [&](const Node& other) {
           return other.kind == OpKind::kMul && reads(other) &&
                  std::ranges::contains(other.inputs, value);
         });
}

}  // namespace

Range useful_range(const Graph& graph, ValueId value, const Range& range) {
  if (std::ranges::contains(graph.outputs, value)) return range;
  std::vector<const Node*> readers;
  for (const Node& node : graph.nodes) {
    if (std::ranges::contains(node.inputs, value)) readers.push_back(&node);
  }
  if (readers.empty()) return range;
  Range useful{kInfinity, -kInfinity};
  for (const Node* node : readers) {
    const auto found = std::ranges::find(kSaturating, node->kind, &Saturating::kind);
    const bool is_gate = readers.size() == 2 && found != std::end(kSaturating) &&
                         multiplies_itself(graph, value, *node);
    if (is_gate) return {std::max(range.min, std::min(range.max, found->range.min)), range.max};
    useful = range_union(useful, found == std::end(kSaturating) ? kAll : found->range);
  }
  const auto within = [&](float x) { return std::clamp(x, useful.min, useful.max); };
  return {within(range.min), within(range.max)};
}

}  // namespace octavo
