// Absorption of high biases into the next layer: a case by hand, and what it wins.
#include "core/quantization/bias_absorption.h"

#include "tests/quantized_model.h"

namespace octavo {
namespace {

// 1x1 convolutions; the second reads what the first computes behind a Relu.
Graph pair(std::vector<int64_t> pads, std::vector<float> first_bias = {1, 2},
           std::vector<float> second_bias = {0.5f, 0}) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 2, 4, 4});
  const ValueId y = b.node(
      OpKind::kConv,
      {x, b.floats("w1", {2, 2, 1, 1}, {1, 0, 0, 1}), b.floats("b1", {2}, std::move(first_bias))},
      "first", {{"activation", std::string("Relu")}});
  return b
      .output(b.node(OpKind::kConv,
                     {y, b.floats("w2", {2, 2, 1, 1}, {2, 3, -1, 1}),
                      b.floats("b2", {2}, std::move(second_bias))},
                     "second", {{"pads", std::move(pads)}}))
      .build();
}

std::vector<float> constant(const Graph& graph, const char* name) {
  const auto data = graph.value(graph.find_value(name)).constant.data<const float>();
  return {data.begin(), data.end()};
}

// Absorbs two deviations below the mean of what was seen behind the first convolution. Channel 0 is
// 5, 6, 7, 6: mean 6, deviation sqrt(1/2). Channel 1 is 0, 1, 0, 3: too near to zero.
ChannelStats absorb(Graph& graph) {
  const StaticQuantConfig config;
  const auto annotation = annotate(graph, config);
  EXPECT_TRUE(annotation);
  ChannelStats stats(graph, *annotation);
  const std::vector<float> values = {5, 6, 7, 6, 0, 1, 0, 3};
  const Tensor seen = Tensor::of<float>(Shape{1, 2, 2, 2}, values);
  EXPECT_TRUE(stats.on_value(graph.find_value("first"), seen.view()));
  EXPECT_TRUE(absorb_biases(graph, *annotation, 2, stats));
  return stats;
}

TEST(BiasAbsorption, MovesWhatLiesBelowMeanMinusDeviations) {
  Graph graph = pair({0, 0, 0, 0});
  const ChannelStats stats = absorb(graph);
  const float c = 6 - std::sqrt(2.0f);
  const std::vector<float> first = constant(graph, "b1"), second = constant(graph, "b2");
  EXPECT_FLOAT_EQ(first[0], 1 - c);
  EXPECT_FLOAT_EQ(first[1], 2) << "its minimum is zero";
  EXPECT_FLOAT_EQ(second[0], 0.5f + 2 * c);
  EXPECT_FLOAT_EQ(second[1], -c);
  const ValueId value = graph.find_value("first_absorbed");
  ASSERT_NE(value, kNoValue);
  EXPECT_NEAR(stats.mean(value)[0], 6 - c, 1e-6);
  EXPECT_NEAR(stats.energy(value)[0], (6 - c) * (6 - c) + 0.5, 1e-5);
  EXPECT_FLOAT_EQ(stats.ranges(value)[0].max, 7 - c);
}

TEST(BiasAbsorption, LeavesLayersBeforePaddingAlone) {
  Graph graph = pair({1, 1, 1, 1});
  absorb(graph);
  EXPECT_EQ(constant(graph, "b1"), (std::vector<float>{1, 2}));
}

// Channel 0 lies 40 above zero, where the integers need not begin; the second layer takes it back.
TEST(BiasAbsorption, GivesTheIntegersToWhatVaries) {
  const Graph graph = pair({0, 0, 0, 0}, {40, 0}, {-80, 40});
  const auto db = [&](bool absorbs, double deviations) {
    StaticQuantConfig config;
    config.weight_granularity = "per_tensor";
    config.bias_absorption = absorbs;
    config.absorption_deviations = deviations;
    const QuantizedModel made = quantized(graph, config, 16);
    const auto is_there = [&](const char* name) {
      return made.model.graph().find_value(name) != kNoValue;
    };
    EXPECT_EQ(is_there("first_absorbed") || is_there("first_equalized_absorbed"), absorbs);
    return sqnr(graph, made);
  };
  const double without = db(false, 3);
  EXPECT_GT(db(true, 3), without + 6);
  EXPECT_NE(db(true, 6), db(true, 3));
}

}  // namespace
}  // namespace octavo
