// Options that choose ranges, and warnings about calibration data, through quantize_model.
#include <cmath>

#include "core/octavo.h"
#include "core/quantization/useful_range.h"
#include "tests/graph_builder.h"

namespace octavo {
namespace {

// Sample i: 4,000 normal numbers times `scale`, one of them `outlier` in every third sample.
class OutlierLoader : public DataLoader {
 public:
  explicit OutlierLoader(int count) : count_(count) {}
  Result<std::optional<NamedTensors>> next() override {
    if (served_ == count_) return std::nullopt;
    Tensor x = GraphBuilder::random_tensor(concat("x", same ? 0 : served_), Shape{1, 4, 40, 25});
    for (float& value : x.data<float>()) value = value * scale + offset;
    if (served_ % 3 == 1) x.data<float>()[7] = outlier;
    ++served_;
    NamedTensors feeds;
    feeds.emplace_back("x", std::move(x));
    return feeds;
  }
  float outlier = 300, scale = 1, offset = 0;
  bool same = false;

 private:
  int count_, served_ = 0;
};

Graph two_layers(float deviation = 0.5f) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 40, 25});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w1", {8, 4, 1, 1}, deviation)}, "conv1",
                           {{"activation", std::string("Relu")}});
  const ValueId y = b.node(OpKind::kConv, {c, b.random("w2", {4, 8, 3, 3}, 0.1f)}, "conv2");
  return b.output(y).build();
}

// Without equalization, which changes ranges and names.
QuantizedModel quantized(const Graph& graph, StaticQuantConfig config,
                         OutlierLoader data = OutlierLoader(12)) {
  config.equalization = "none";
  const Model model(std::make_shared<const Graph>(graph));
  auto result = quantize_model(model, config, &data);
  EXPECT_TRUE(result) << result.error().to_string();
  return result ? *std::move(result) : QuantizedModel();
}

float scale_of(const QuantizedModel& result, const std::string& name, size_t channel = 0) {
  const Graph& graph = result.model.graph();
  const ValueId id = graph.find_value(name);
  if (id == kNoValue || graph.value(id).quant == nullptr) {
    ADD_FAILURE() << name << " is not quantized";
    return 0;
  }
  return graph.value(id).quant->scale[channel];
}

float hidden_scale(const StaticQuantConfig& config) {
  return scale_of(quantized(two_layers(), config), "conv1");
}

TEST(RangeOptions, EveryAlgorithmChoosesItsOwnRange) {
  std::vector<float> scales;
  for (const char* algorithm : {"minmax", "moving_average", "mean_minmax", "median_minmax",
                                "mean_no_outliers", "mean_quantile", "percentile", "kl", "mse"}) {
    StaticQuantConfig config;
    config.act_algorithm = algorithm;
    config.percentile = 99.9;
    config.quantile_outlier_prob = 0.2;
    scales.push_back(hidden_scale(config));
    EXPECT_LE(scales.back(), scales.front()) << algorithm;
    for (size_t i = 0; i + 1 < scales.size(); ++i) EXPECT_NE(scales[i], scales.back()) << algorithm;
  }
}

TEST(RangeOptions, ParametersMatter) {
  StaticQuantConfig config;
  config.act_algorithm = "percentile";
  config.percentile = 99.9;
  const float percentile = hidden_scale(config);
  config.percentile = 90;
  EXPECT_LT(hidden_scale(config), percentile);

  config.act_algorithm = "moving_average";
  const float slow = hidden_scale(config);
  config.averaging_constant = 0.5;
  EXPECT_GT(hidden_scale(config), slow) << "the first sample has no outlier";

  config.act_algorithm = "mean_quantile";
  config.quantile_outlier_prob = 0.001;
  const float tails = hidden_scale(config);
  config.quantile_outlier_prob = 0.05;
  EXPECT_LT(hidden_scale(config), tails);

  config.act_algorithm = "kl";
  const float levels = hidden_scale(config);
  config.num_quantized_bins = 16;
  EXPECT_NE(hidden_scale(config), levels);
}

TEST(RangeOptions, LocalAlgorithms) {
  StaticQuantConfig config, local;
  local.act_algorithm = "kl";
  config.set_local("conv1", local);
  const QuantizedModel result = quantized(two_layers(), config);
  EXPECT_EQ(scale_of(result, "conv1"), hidden_scale(local));
  EXPECT_EQ(scale_of(result, "x_quantized"),
            scale_of(quantized(two_layers(), local), "x_quantized"))
      << "the input is conv1's too";
}

TEST(RangeOptions, WeightAlgorithms) {
  GraphBuilder b;
  Tensor weights = GraphBuilder::random_tensor("w", {2, 80000, 1, 1}, 0.1f);
  weights.data<float>()[3] = 0.7f;  // an outlier in channel 0
  const ValueId x = b.input("x", {1, 80000, 1, 1});
  const Graph graph =
      b.output(b.node(OpKind::kConv, {x, b.constant("w", weights)}, "conv")).build();
  struct Loader : DataLoader {
    int left = 3;
    Result<std::optional<NamedTensors>> next() override {
      if (left-- == 0) return std::nullopt;
      NamedTensors feeds;
      feeds.emplace_back("x", GraphBuilder::random_tensor(concat(left), {1, 80000, 1, 1}));
      return feeds;
    }
  };
  const auto scales = [&](const char* algorithm, const char* granularity) {
    StaticQuantConfig config;
    config.weight_algorithm = algorithm;
    config.weight_granularity = granularity;
    config.percentile = 99;
    Loader data;
    const Model model(std::make_shared<const Graph>(graph));
    const auto result = quantize_model(model, config, &data);
    EXPECT_TRUE(result) << result.error().to_string();
    const Graph& made = result->model.graph();
    return made.value(made.find_value("w_quantized")).quant->scale;
  };
  const auto extremes = scales("minmax", "per_channel");
  EXPECT_FLOAT_EQ(extremes[0], 0.7f / 127);
  for (const char* algorithm : {"kl", "percentile", "mse"}) {
    const auto chosen = scales(algorithm, "per_channel");
    EXPECT_LT(chosen[0], 0.95f * extremes[0]) << algorithm;
    EXPECT_LT(scales(algorithm, "per_tensor")[0], 0.95f * extremes[0]) << algorithm;
  }
}

std::string warnings(const QuantizedModel& result) {
  std::string all;
  for (const std::string& warning : result.report.warnings) all += warning + "\n";
  return all;
}

TEST(DataLint, GoodDataGiveNoWarnings) {
  OutlierLoader data(12);
  data.outlier = 0;
  EXPECT_EQ(warnings(quantized(two_layers(), {}, data)), "");
}

TEST(DataLint, FewConstantAndRepeatedSamples) {
  EXPECT_NE(
      warnings(quantized(two_layers(), {}, OutlierLoader(3))).find("calibration saw 3 samples"),
      std::string::npos);
  OutlierLoader repeated(12);
  repeated.same = true;
  repeated.outlier = 0.5f;
  EXPECT_NE(warnings(quantized(two_layers(), {}, repeated))
                .find("10 of the 12 calibration samples occur more than once"),
            std::string::npos);
  OutlierLoader constant(12);
  constant.scale = 0;
  constant.offset = constant.outlier = 1;
  EXPECT_NE(warnings(quantized(two_layers(), {}, constant))
                .find("in 12 of the 12 calibration samples 'x' has one and the same value"),
            std::string::npos);
}

TEST(DataLint, InputsThatDoNotFitTheFirstLayer) {
  OutlierLoader pixels(12);
  pixels.scale = 50;
  pixels.offset = 128;
  pixels.outlier = 255;
  EXPECT_NE(warnings(quantized(two_layers(), {}, pixels)).find("trained on normalized inputs"),
            std::string::npos);
  EXPECT_EQ(warnings(quantized(two_layers(0.005f), {}, pixels)), "") << "made for pixels";
  OutlierLoader normalized(12);
  normalized.outlier = 1;
  EXPECT_NE(warnings(quantized(two_layers(0.005f), {}, normalized)).find("inputs of 0 to 255"),
            std::string::npos);
}

TEST(RangeOptions, WhatAFunctionDoesNotTellApartTakesNoIntegers) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 40, 25});
  const ValueId gated = b.node(OpKind::kConv, {x, b.random("w1", {8, 4, 1, 1}, 5)}, "gated");
  const ValueId gate = b.node(OpKind::kSigmoid, {gated}, "gate");
  const ValueId silu = b.node(OpKind::kMul, {gated, gate}, "silu");
  const ValueId alone = b.node(OpKind::kConv, {silu, b.random("w2", {8, 8, 1, 1}, 5)}, "alone");
  const ValueId sigmoid = b.node(OpKind::kSigmoid, {alone}, "sigmoid");
  const ValueId swished =
      b.node(OpKind::kConv, {sigmoid, b.random("w3", {8, 8, 1, 1}, 5)}, "swished");
  const ValueId swish = b.node(OpKind::kHardSwish, {swished}, "swish");
  const ValueId y = b.node(OpKind::kConv, {swish, b.random("w4", {4, 8, 1, 1})}, "y");
  const Graph graph = b.output(y).build();
  const Range wide{-50, 20};
  EXPECT_EQ(useful_range(graph, gated, wide), (Range{-8, 20}));
  EXPECT_EQ(useful_range(graph, gated, {-2, 3}), (Range{-2, 3}));
  EXPECT_EQ(useful_range(graph, alone, wide), (Range{-8, 8}));
  EXPECT_EQ(useful_range(graph, swished, wide), (Range{-3, 20}));
  EXPECT_EQ(useful_range(graph, silu, wide), wide) << "a convolution reads it";
  EXPECT_EQ(useful_range(graph, y, wide), wide) << "the model's output";
  StaticQuantConfig config;
  config.act_sym = false;
  config.act_dtype = "uint8";
  const QuantizedModel result = quantized(graph, config);
  const QuantParams& quant =
      *result.model.graph().value(result.model.graph().find_value("gated")).quant;
  EXPECT_NEAR(-quant.scale[0] * static_cast<float>(quant.zero_point[0]), -8, quant.scale[0]);
}

}  // namespace
}  // namespace octavo
