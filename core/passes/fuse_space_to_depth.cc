// SpaceToDepth, or the Slices and the Concat that stand for it, become part of the convolution
// behind it: a kernel of k x k on blocks of s x s pixels is one of (k s) x (k s) with s times the
// stride on the pixels themselves, of the same products.
#include <algorithm>
#include <array>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"
#include "runtime/dtype.h"

namespace octavo::passes {
namespace {

using Pair = std::array<int64_t, 2>;  // of height and width

struct Blocks {
  ValueId source = kNoValue;
  Pair size{};               // of a block
  std::vector<Pair> pixels;  // in a block, in the order of the result's channels
};

bool same_quant(const Value& a, const Value& b) {
  return a.quant == nullptr ? b.quant == nullptr
                            : b.quant != nullptr && a.quant->per_tensor() && *a.quant == *b.quant;
}

bool is_image(const Value& value) { return value.shape.is_static() && value.shape.rank() == 4; }

// Goes back through Slices that take every step-th row or column; false at any other Slice.
bool follow_slices(const GraphEditor& editor, ValueId& value, Pair& start, Pair& step) {
  const Graph& graph = editor.graph();
  start = {0, 0};
  step = {1, 1};
  while (true) {
    const NodeId producer = editor.producer(value);
    if (producer < 0 || graph.node(producer).kind != OpKind::kSlice) return step != Pair{1, 1};
    const Node& slice = graph.node(producer);
    const Value &x = graph.value(slice.inputs[0]), &y = graph.value(value);
    const auto starts = int_constant(graph, slice.input(1));
    const auto axes = int_constant(graph, slice.input(3));
    const auto steps = int_constant(graph, slice.input(4));
    if (!is_image(x) || !is_image(y) || !same_quant(x, y) || !starts || !axes || !steps ||
        starts->size() != axes->size() || steps->size() != axes->size()) {
      return false;
    }
    for (size_t i = 0; i < axes->size(); ++i) {
      const auto axis = normalize_axis((*axes)[i], 4);
      const int64_t from = (*starts)[i], by = (*steps)[i];
      if (!axis || *axis < 2 || by < 1 || from < 0 || from >= by || x.shape[*axis] % by != 0 ||
          y.shape[*axis] != x.shape[*axis] / by) {
        return false;
      }
      const auto at = static_cast<size_t>(*axis - 2);
      if (by > 1 && step[at] > 1) return false;
      if (by > 1) start[at] = from, step[at] = by;
    }
    value = slice.inputs[0];
  }
}

std::optional<Blocks> match_blocks(const GraphEditor& editor, const Node& node) {
  const Graph& graph = editor.graph();
  Blocks blocks;
  if (node.kind == OpKind::kSpaceToDepth) {
    const int64_t size = node.get_int("blocksize");
    blocks = {node.inputs[0], {size, size}, {}};
    for (int64_t i = 0; i < size * size; ++i) blocks.pixels.push_back({i / size, i % size});
  } else if (node.kind == OpKind::kConcat && node.get_int("axis") == 1) {
    for (const ValueId input : node.inputs) {
      ValueId source = input;
      Pair start, size;
      if (!follow_slices(editor, source, start, size) ||
          std::ranges::contains(blocks.pixels, start) ||
          (!blocks.pixels.empty() && (source != blocks.source || size != blocks.size))) {
        return {};
      }
      blocks.source = source;
      blocks.size = size;
      blocks.pixels.push_back(start);
    }
    if (static_cast<int64_t>(blocks.pixels.size()) != blocks.size[0] * blocks.size[1]) return {};
  } else {
    return {};
  }
  const Value &from = graph.value(blocks.source), &to = graph.value(node.outputs[0]);
  if (!is_image(from) || !same_quant(from, to)) return {};
  return blocks;
}

// Weights [out, pixels * in, h, w] as [out, in, h * size, w * size].
Result<Tensor> spread(const Tensor& weights, const Blocks& blocks) {
  const Shape& from = weights.shape();
  const auto pixels = static_cast<int64_t>(blocks.pixels.size());
  const int64_t in = from[1] / pixels;
  const auto [size_y, size_x] = blocks.size;
  const Shape to{from[0], in, from[2] * size_y, from[3] * size_x};
  OCTAVO_ASSIGN(Tensor result, Tensor::create(weights.dtype(), to));
  visit_dtype_size(weights.dtype(), [&]<class T>() {
    const T* w = static_cast<const T*>(weights.raw());
    for (int64_t o = 0; o < from[0]; ++o) {
      for (const auto& [begin_y, begin_x] : blocks.pixels) {
        for (int64_t c = 0; c < in; ++c) {
          T* plane = static_cast<T*>(result.raw()) + (o * in + c) * to[2] * to[3];
          for (int64_t y = begin_y; y < to[2]; y += size_y) {
            for (int64_t x = begin_x; x < to[3]; x += size_x) plane[y * to[3] + x] = *w++;
          }
        }
      }
    }
  });
  return result;
}

}  // namespace

Result<int> fuse_space_to_depth(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    if (node.kind != OpKind::kConv || node.get_int("group") != 1) continue;
    const ValueId input = node.inputs[0], weight = node.inputs[1];
    const NodeId before = editor.producer(input);
    const Tensor* weights = constant_of(graph, weight);
    const std::string_view auto_pad = node.get_string("auto_pad");
    if (before < 0 || !editor.has_one_use(input) || weights == nullptr ||
        weights->shape().rank() != 4 || (auto_pad != "NOTSET" && !auto_pad.empty()) ||
        std::ranges::any_of(node.get_ints("dilations"), [](int64_t d) { return d != 1; })) {
      continue;
    }
    const auto blocks = match_blocks(editor, graph.node(before));
    if (!blocks) continue;
    OCTAVO_ASSIGN(Tensor spread_weights, spread(*weights, *blocks));
    const auto scaled = [&](const char* attribute, size_t count, int64_t absent) {
      std::vector<int64_t> values(count, absent);
      const auto given = node.get_ints(attribute);
      if (given.size() == count) values.assign(given.begin(), given.end());
      for (size_t i = 0; i < count; ++i) values[i] *= blocks->size[i % 2];
      return values;
    };
    node.set("strides", scaled("strides", 2, 1));
    node.set("pads", scaled("pads", 4, 0));
    node.unset("auto_pad");
    node.unset("kernel_shape");
    const auto quant = graph.value(weight).quant;
    const ValueId constant =
        editor.add_constant(graph.value(weight).name, std::move(spread_weights));
    graph.value(constant).quant = quant;
    editor.set_input(static_cast<NodeId>(n), 1, constant);
    editor.set_input(static_cast<NodeId>(n), 0, blocks->source);
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
