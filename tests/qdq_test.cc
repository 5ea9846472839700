// Quantized values, ONNX's notation for them, and back.
#include "core/quantization/qdq.h"

#include <gtest/gtest.h>

#include "core/onnx/onnx.h"
#include "core/passes/passes.h"
#include "native/files.h"
#include "tests/graph_builder.h"

namespace octavo {
namespace {

std::shared_ptr<const QuantParams> per_tensor(float scale, int32_t zero_point) {
  return std::make_shared<QuantParams>(QuantParams{{scale}, {zero_point}});
}

// Ids of values and nodes by name, so that graphs compare whatever the order of their constants.
std::vector<std::string> sorted_lines(const Graph& graph) {
  const std::string text = dump(graph);
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    lines.push_back(line.substr(0, line.rfind(" \"")));  // without the node's name
    at = end + 1;
  }
  std::ranges::sort(lines);
  return lines;
}

std::vector<std::string> kinds(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.emplace_back(op_name(node.kind));
  return names;
}

// x -> QuantizeLinear -> Conv (per channel, bias, Relu) -> MaxPool -> Sigmoid -> DequantizeLinear
Graph quantized_graph() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 1, 4, 4});
  const ValueId xq = b.node(OpKind::kQuantizeLinear, {x}, "xq");
  const ValueId w = b.constant("w", Tensor::of<int8_t>(Shape{2, 1, 1, 1}, {100, -50}));
  const ValueId bias = b.constant("b", Tensor::of<int32_t>(Shape{2}, {40, -7}));
  const ValueId c =
      b.node(OpKind::kConv, {xq, w, bias}, "c", {{"activation", std::string("Relu")}});
  const ValueId p = b.node(
      OpKind::kMaxPool, {c}, "p",
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const ValueId s = b.node(OpKind::kSigmoid, {p}, "s");
  const ValueId y = b.node(OpKind::kDequantizeLinear, {s}, "y");
  Graph graph = b.output(y).build();
  const auto set = [&](ValueId id, DType dtype, std::shared_ptr<const QuantParams> quant) {
    graph.value(id).dtype = dtype;
    graph.value(id).quant = std::move(quant);
  };
  set(xq, DType::kU8, per_tensor(0.02f, 128));
  set(w, DType::kI8, std::make_shared<QuantParams>(QuantParams{{0.01f, 0.03f}, {0, 0}, 0}));
  set(bias, DType::kI32,
      std::make_shared<QuantParams>(QuantParams{{0.02f * 0.01f, 0.02f * 0.03f}, {0, 0}, 0}));
  set(c, DType::kU8, per_tensor(0.05f, 20));
  set(p, DType::kU8, graph.value(c).quant);
  set(s, DType::kU8, per_tensor(1.0f / 256, 0));
  return graph;
}

TEST(Qdq, ExpandedGraphsComputeOnFloatsBetweenPairs) {
  const auto expanded = expand_qdq(quantized_graph());
  ASSERT_TRUE(expanded) << expanded.error().to_string();
  ASSERT_TRUE(validate(*expanded)) << dump(*expanded);
  EXPECT_EQ(kinds(*expanded),
            (std::vector<std::string>{
                "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear",
                "Conv", "QuantizeLinear", "DequantizeLinear", "MaxPool", "QuantizeLinear",
                "DequantizeLinear", "Sigmoid", "QuantizeLinear", "DequantizeLinear"}));
  for (const Value& value : expanded->values) EXPECT_EQ(value.quant, nullptr) << value.name;
}

TEST(Qdq, CollapseUndoesExpansion) {
  const Graph graph = quantized_graph();
  auto again = expand_qdq(graph);
  ASSERT_TRUE(again);
  const auto changes = collapse_qdq(*again);
  ASSERT_TRUE(changes) << changes.error().to_string();
  EXPECT_GT(*changes, 0);
  EXPECT_EQ(sorted_lines(*again), sorted_lines(graph));
  EXPECT_EQ(*collapse_qdq(*again), 0) << "a second run finds nothing";
}

TEST(Qdq, AnExportedFileLoadsAsTheSameGraph) {
  const Graph graph = quantized_graph();
  const auto bytes = export_onnx(graph, {.keep_names = true});
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  auto again = import_onnx(*bytes, {});
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(kinds(*again)[5], "Relu") << "a fused activation is a node of its own in ONNX";
  ASSERT_TRUE(run_passes(*again, collapse_passes()));
  EXPECT_EQ(sorted_lines(*again), sorted_lines(graph));
}

TEST(Qdq, LongNamesInsideASmallFileAreReplaced) {
  Graph graph = quantized_graph();
  graph.value(graph.nodes[1].outputs[0]).name = std::string(200, 'n');
  const auto kept = export_onnx(graph, {.keep_names = true});
  const auto shortened = export_onnx(graph);
  ASSERT_TRUE(kept && shortened);
  EXPECT_LT(shortened->size() + 200, kept->size());
  const auto again = import_onnx(*shortened, {});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->value(again->inputs[0]).name, "x");
  EXPECT_EQ(again->value(again->outputs[0]).name, "y");
}

// What stands between a Conv and its QuantizeLinear.
TEST(Qdq, ARedundantReluIsDroppedAndATightClipIsFused) {
  for (const bool redundant : {true, false}) {
    GraphBuilder b;
    const ValueId xs = b.floats("xs", {}, {0.1f});
    const ValueId zero = b.constant("zero", Tensor::scalar<uint8_t>(0));
    const ValueId x = b.input("x", {1, 1, 2, 2}, DType::kU8);
    const ValueId w = b.constant("w", Tensor::of<uint8_t>(Shape{1, 1, 1, 1}, {3}));
    const ValueId xf = b.node(OpKind::kDequantizeLinear, {x, xs, zero}, "xf");
    const ValueId wf = b.node(OpKind::kDequantizeLinear, {w, xs, zero}, "wf");
    const ValueId c = b.node(OpKind::kConv, {xf, wf}, "c");
    const ValueId low = b.floats("low", {}, {0});
    const ValueId high = b.floats("high", {}, {redundant ? 25.5f : 6.0f});
    const ValueId clip = b.node(OpKind::kClip, {c, low, high}, "clip");
    const ValueId y = b.node(OpKind::kQuantizeLinear, {clip, xs, zero}, "y");
    Graph graph = b.output(y).build();
    ASSERT_TRUE(collapse_qdq(graph));
    ASSERT_EQ(kinds(graph), (std::vector<std::string>{"Conv"})) << dump(graph);
    EXPECT_EQ(graph.nodes[0].get_string("activation"), redundant ? "" : "Clip");
  }
}

TEST(Qdq, FloatConsumersKeepTheFloatResult) {
  GraphBuilder b;
  const ValueId scale = b.floats("scale", {}, {0.1f});
  const ValueId zero = b.constant("zero", Tensor::scalar<uint8_t>(0));
  const ValueId x = b.input("x", {1, 4}, DType::kU8);
  const ValueId xf = b.node(OpKind::kDequantizeLinear, {x, scale, zero}, "xf");
  const ValueId s = b.node(OpKind::kSigmoid, {xf}, "s");
  const ValueId q = b.node(OpKind::kQuantizeLinear, {s, scale, zero}, "q");
  const ValueId f = b.node(OpKind::kAbs, {s}, "f");
  Graph graph = b.output(q).output(f).build();
  ASSERT_TRUE(collapse_qdq(graph));
  EXPECT_EQ(kinds(graph),
            (std::vector<std::string>{"DequantizeLinear", "Sigmoid", "QuantizeLinear", "Abs"}));
}

// MaxPool on plain u8, as QOperator models have it: the parameters pass through.
TEST(Qdq, ParametersFollowIntegersThroughDataMovement) {
  GraphBuilder b;
  const ValueId scale = b.floats("scale", {}, {0.1f});
  const ValueId zero = b.constant("zero", Tensor::scalar<uint8_t>(7));
  const ValueId x = b.input("x", {1, 1, 2, 2});
  const ValueId q = b.node(OpKind::kQuantizeLinear, {x, scale, zero}, "q");
  const ValueId p =
      b.node(OpKind::kMaxPool, {q}, "p", {{"kernel_shape", std::vector<int64_t>{2, 2}}});
  const ValueId y = b.node(OpKind::kDequantizeLinear, {p, scale, zero}, "y");
  Graph graph = b.output(y).build();
  ASSERT_TRUE(collapse_qdq(graph));
  const Value& pooled = graph.value(graph.find_value("p"));
  ASSERT_NE(pooled.quant, nullptr);
  EXPECT_EQ(pooled.quant->zero_point[0], 7);
}

TEST(Qdq, AZeroScaleIsAnErrorThatNamesTheNode) {
  GraphBuilder b;
  const ValueId scale = b.floats("scale", {}, {0.0f});
  const ValueId zero = b.constant("zero", Tensor::scalar<uint8_t>(0));
  const ValueId x = b.input("x", {4}, DType::kU8);
  const ValueId y = b.node(OpKind::kDequantizeLinear, {x, scale, zero}, "dq");
  Graph graph = b.output(y).build();
  const auto changes = collapse_qdq(graph);
  ASSERT_FALSE(changes);
  EXPECT_EQ(changes.error().node, "dq");
}

}  // namespace
}  // namespace octavo
