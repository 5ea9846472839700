// Which part of a model is quantized: sub-graphs, first and last layers, granularity by operator,
// and Concats of unlike ranges.
#include "core/quantization/subgraphs.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

// in -> left -> left2, in -> right; join adds both -> out
Graph diamond() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const auto conv = [&](const char* name, ValueId from) {
    return b.node(OpKind::kConv, {from, b.random(concat("w_", name), {4, 4, 1, 1}, 0.4f)}, name);
  };
  const ValueId in = conv("in", x);
  const ValueId left2 = conv("left2", conv("left", in)), right = conv("right", in);
  return b.output(conv("out", b.node(OpKind::kAdd, {left2, right}, "join"))).build();
}

using Names = std::vector<std::string>;

TEST(Subgraphs, AreTheNodesOnThePathsBetweenTwo) {
  const Graph graph = diamond();
  EXPECT_EQ(*nodes_between(graph, "left..join"), (Names{"left", "left2", "join"}));
  EXPECT_EQ(*nodes_between(graph, "in..join"), (Names{"in", "left", "left2", "right", "join"}))
      << "in the graph's order";
  EXPECT_EQ(*nodes_between(graph, "left..left"), (Names{"left"}));
  EXPECT_EQ(*nodes_between(graph, "left*"), (Names{"left*"})) << "no such pattern";
  EXPECT_EQ(nodes_between(graph, "left..right").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(nodes_between(graph, "join..in").error().code, ErrorCode::kNotFound);
}

TEST(Subgraphs, InWhiteListsAndLocalConfigurations) {
  const Graph graph = diamond();
  StaticQuantConfig listed;
  listed.white_list = {"left..left2", "out"};
  const QuantizedModel some = quantized(graph, listed);
  for (const char* name : {"left", "left2", "out"}) EXPECT_EQ(reason(some, name), "quantized");
  for (const char* name : {"in", "right", "join"}) {
    EXPECT_EQ(reason(some, name), "not in white_list") << name;
  }
  StaticQuantConfig config, fp32;
  fp32.act_dtype = "fp32";
  config.set_local("left..join", fp32);
  const QuantizedModel others = quantized(graph, config);
  for (const char* name : {"left", "left2", "join"}) {
    EXPECT_EQ(reason(others, name), "act_dtype is fp32") << name;
  }
  for (const char* name : {"in", "right", "out"}) EXPECT_EQ(reason(others, name), "quantized");
  RTNConfig weights;
  weights.white_list = {"left..left2"};
  const QuantizedModel rtn = quantized(graph, weights);
  EXPECT_EQ(reason(rtn, "left2"), "quantized");
  EXPECT_EQ(reason(rtn, "right"), "not in white_list");
  config.set_local("left..nowhere", fp32);
  EXPECT_EQ(quantize(graph, config).error().code, ErrorCode::kNotFound);
}

TEST(Subsets, FirstAndLastLayers) {
  const Graph graph = diamond();
  StaticQuantConfig config;
  config.first_conv_or_matmul_quantization = false;
  const QuantizedModel without_first = quantized(graph, config);
  EXPECT_EQ(reason(without_first, "in"), "first_conv_or_matmul_quantization is false");
  EXPECT_EQ(reason(without_first, "out"), "quantized");
  config.first_conv_or_matmul_quantization = true;
  config.last_conv_or_matmul_quantization = false;
  const QuantizedModel without_last = quantized(graph, config);
  EXPECT_EQ(reason(without_last, "in"), "quantized");
  EXPECT_EQ(reason(without_last, "out"), "last_conv_or_matmul_quantization is false");
}

TEST(Subsets, GranularityAndWidthByOperator) {
  StaticQuantConfig config, tensor;
  tensor.weight_granularity = "per_tensor";
  StaticQuantConfig narrow;
  narrow.weight_dtype = "int4";
  config.set_local("left*", tensor);
  config.set_local("right", narrow);
  const QuantizedModel result = quantized(diamond(), config);
  const auto weights = [&](const char* name) {
    const Graph& graph = result.model.graph();
    return graph.value(graph.find_value(concat("w_", name, "_quantized")));
  };
  EXPECT_EQ(weights("left").quant->scale.size(), 1u);
  EXPECT_EQ(weights("left2").quant->scale.size(), 1u);
  EXPECT_EQ(weights("in").quant->scale.size(), 4u);
  EXPECT_EQ(weights("right").quant->scale.size(), 4u);
  EXPECT_EQ(weights("right").dtype, DType::kI4);
}

// Boxes of some hundred pixels beside scores of 0 to 1, as detectors end; `tail` reads both.
Graph detector(bool tail) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 6, 6});
  const ValueId features =
      b.node(OpKind::kConv, {x, b.random("wf", {8, 8, 3, 3}, 0.2f)}, "features");
  const ValueId boxes =
      b.node(OpKind::kConv, {features, b.random("wb", {4, 8, 1, 1}, 60)}, "boxes");
  const ValueId logits =
      b.node(OpKind::kConv, {features, b.random("ws", {4, 8, 1, 1}, 0.5f)}, "logits");
  const ValueId scores = b.node(OpKind::kSigmoid, {logits}, "scores");
  ValueId y = b.node(OpKind::kConcat, {boxes, scores}, "head", {{"axis", int64_t{1}}});
  if (tail) {
    Tensor weights = GraphBuilder::random_tensor("wt", {4, 8, 1, 1});
    for (size_t i = 0; i < 32; ++i) weights.data<float>()[i] *= i % 8 < 4 ? 1e-3f : 1.0f;
    const ValueId r =
        b.node(OpKind::kTranspose, {y}, "turned", {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    y = b.node(OpKind::kConv, {r, b.constant("wt", weights)}, "tail");
  }
  return b.output(y).build();
}

// SQNR of the scores alone: in the whole output the boxes outweigh them.
double score_sqnr(const Graph& graph, const Model& model) {
  RandomLoader data(graph, 8);
  auto a = Model(std::make_shared<const Graph>(graph)).create_session();
  auto b = model.create_session();
  EXPECT_TRUE(a && b);
  double signal = 0, noise = 0;
  while (const auto feeds = *data.next()) {
    const Tensor wanted = (*a->run(*feeds))[0].second, got = (*b->run(*feeds))[0].second;
    const auto size = wanted.data<const float>().size();
    for (size_t i = size / 2; i < size; ++i) {
      const double x = wanted.data<const float>()[i], e = x - got.data<const float>()[i];
      signal += x * x;
      noise += e * e;
    }
  }
  return 10 * std::log10(signal / noise);
}

TEST(Subsets, AConcatOfBoxesAndScoresDoesNotLoseTheScores) {
  const Graph graph = detector(false);
  const QuantizedModel result = quantized(graph);
  EXPECT_EQ(reason(result, "head"), "its results are used as floats only");
  EXPECT_GT(score_sqnr(graph, result.model), 25);
}

TEST(Subsets, AConcatOfUnlikeRangesStaysFloatWithItsReaders) {
  const Graph graph = detector(true);
  StaticQuantConfig config;
  config.max_concat_ratio = 0;
  const double quantized_head = sqnr(graph, quantized(graph, config));
  config.max_concat_ratio = 64;
  const QuantizedModel result = quantized(graph, config);
  EXPECT_NE(reason(result, "head").find("its inputs' ranges differ"), std::string::npos)
      << reason(result, "head");
  for (const char* name : {"turned", "tail"}) {
    EXPECT_NE(reason(result, name).find("reads a Concat"), std::string::npos) << name;
  }
  EXPECT_EQ(reason(result, "boxes"), "quantized");
  EXPECT_GT(sqnr(graph, result), quantized_head + 6);
  config.max_concat_ratio = 1e6;
  EXPECT_EQ(reason(quantized(graph, config), "head"), "quantized");
}

// Integer outputs ask for one scale; then it is an error that says so.
TEST(Subsets, IntegerOnlyDetectorsSayWhichConcat) {
  StaticQuantConfig config;
  config.io_dtype = "uint8";
  config.integer_only = true;
  const auto result = quantize(detector(false), config);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("Concat 'head' (its inputs' ranges differ"),
            std::string::npos)
      << result.error().message;
}

}  // namespace
}  // namespace octavo
