// A Pad with zeros becomes the padding of the convolution or average pool behind it.
#include <algorithm>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

// {begin of each spatial axis..., end of each...} if the Pad adds zeros around spatial axes only.
std::optional<std::vector<int64_t>> match_spatial_zeros(const Graph& graph, const Node& pad) {
  const Value& x = graph.value(pad.inputs[0]);
  if (pad.get_string("mode") != "constant" || x.dtype != DType::kF32 || !x.shape.has_rank() ||
      x.shape.rank() < 3) {
    return std::nullopt;
  }
  if (pad.input(2) != kNoValue && float_scalar(graph, pad.inputs[2]) != 0.0f) return std::nullopt;
  const int rank = x.shape.rank();
  const auto pads = int_constant(graph, pad.input(1));
  if (!pads || pads->size() % 2 != 0) return std::nullopt;
  std::vector<int64_t> axes;
  if (pad.input(3) != kNoValue) {
    const auto list = int_constant(graph, pad.inputs[3]);
    if (!list) return std::nullopt;
    axes = *list;
  } else {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  if (axes.size() * 2 != pads->size()) return std::nullopt;
  const auto spatial = static_cast<size_t>(rank - 2);
  std::vector<int64_t> result(2 * spatial, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t begin = (*pads)[i], end = (*pads)[i + axes.size()];
    const auto axis = normalize_axis(axes[i], rank);
    if (!axis || begin < 0 || end < 0) return std::nullopt;
    if (begin == 0 && end == 0) continue;
    if (*axis < 2) return std::nullopt;
    result[static_cast<size_t>(*axis - 2)] = begin;
    result[static_cast<size_t>(*axis - 2) + spatial] = end;
  }
  return result;
}

}  // namespace

Result<int> fuse_pads(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    const bool is_pool = node.kind == OpKind::kAveragePool;
    if (node.kind != OpKind::kConv && !is_pool) continue;
    const NodeId pad = sole_producer(editor, node, 0);
    if (pad < 0 || graph.node(pad).kind != OpKind::kPad) continue;
    const auto added = match_spatial_zeros(graph, graph.node(pad));
    const std::string_view auto_pad = node.get_string("auto_pad");
    if (!added || (auto_pad != "NOTSET" && auto_pad != "VALID" && !auto_pad.empty())) continue;
    std::vector<int64_t> pads(added->size(), 0);
    const auto old = node.get_ints("pads");
    if (auto_pad != "VALID" && old.size() == pads.size()) pads.assign(old.begin(), old.end());
    if (is_pool) {
      // The zeros counted as elements; existing padding must too.
      const bool has_padding = std::ranges::any_of(pads, [](int64_t p) { return p != 0; });
      if (node.get_int("ceil_mode") != 0) continue;
      if (has_padding && node.get_int("count_include_pad") == 0) continue;
      node.set("count_include_pad", int64_t{1});
    }
    for (size_t i = 0; i < pads.size(); ++i) pads[i] += (*added)[i];
    node.set("pads", pads);
    node.unset("auto_pad");
    const ValueId source = graph.node(pad).inputs[0];
    editor.set_input(static_cast<NodeId>(n), 0, source);
    editor.erase(pad);
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
