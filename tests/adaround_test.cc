// Learned rounding: against the best rounding by hand, in weight-only and in static quantization.
#include "core/quantization/adaround.h"

#include "core/config/weight_only_config.h"
#include "tests/kernel_check.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

constexpr AdaRoundOptions kOptions{
    .iters = 300, .lr = 0.02, .reg = 0.5, .beta_start = 20, .beta_end = 2, .warm_up = 0.2};

Moments moments_of(size_t columns, std::vector<double> sums) {
  return {.columns = columns,
          .sums = std::move(sums),
          .totals = std::vector<double>(columns, 0),
          .rows = 1};
}

// Two inputs that go together: both weights are nearer to 0, but one of them up and one down leaves
// an error of (0.6 - 0.4)^2 and little more, both down one of (0.4 + 0.4)^2.
TEST(AdaRound, ErrorsOfCorrelatedInputsCancel) {
  const Moments moments = moments_of(2, {1, 0.9, 0.9, 1});
  const RoundingProblem problem{.rows = 1,
                                .columns = 2,
                                .position = {0.4f, 0.35f},
                                .step = {0.1f, 0.1f},
                                .low = -8,
                                .high = 7};
  const auto made = adaround(problem, moments, false, kOptions, {});
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(*made, (std::vector<int>{1, 0}));
}

TEST(AdaRound, UncorrelatedInputsAreRoundedToNearest) {
  const Moments moments = moments_of(3, {1, 0, 0, 0, 4, 0, 0, 0, 1});
  const RoundingProblem problem{.rows = 2,
                                .columns = 3,
                                .position = {0.4f, 1.7f, -2.2f, 0.6f, -0.6f, 9.5f},
                                .step = std::vector<float>(6, 0.5f),
                                .low = -8,
                                .high = 7};
  const auto made = adaround(problem, moments, false, kOptions, {});
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(*made, (std::vector<int>{0, 2, -2, 1, -1, 7}));
}

// Inputs that are always 1: every error is one of the mean, which the bias takes.
TEST(AdaRound, CentredErrorsOfTheMeanDoNotCount) {
  Moments moments = moments_of(2, {1, 1, 1, 1});
  moments.totals = {1, 1};
  const RoundingProblem problem{
      .rows = 1, .columns = 2, .position = {0.45f, 0.4f}, .step = {1, 1}, .low = -8, .high = 7};
  EXPECT_EQ(*adaround(problem, moments, true, kOptions, {}), (std::vector<int>{0, 0}));
  EXPECT_EQ(*adaround(problem, moments, false, kOptions, {}), (std::vector<int>{1, 0}));
}

// Channels that go together, as in most networks: 24 mixtures of 4 sources, behind a Relu; then
// layers whose weights are rounded coarsely because of one of them that is large.
Graph network(float outlier) {
  GraphBuilder b;
  const auto coarse = [&](const char* name, const Shape& shape, float deviation) {
    Tensor w = GraphBuilder::random_tensor(name, shape, deviation);
    w.data<float>()[1] = outlier * deviation;
    return b.constant(name, std::move(w));
  };
  const ValueId x = b.input("x", {1, 4, 8, 8});
  const ValueId c1 = b.node(OpKind::kConv, {x, b.random("w1", {24, 4, 1, 1}, 0.5f)}, "mix",
                            {{"activation", std::string("Relu")}});
  const ValueId c2 = b.node(OpKind::kConv, {c1, coarse("w2", {12, 24, 1, 1}, 0.2f)}, "conv");
  const ValueId c3 = b.node(OpKind::kConv, {c2, coarse("w3", {12, 1, 3, 3}, 0.5f)}, "depthwise",
                            {{"group", int64_t{12}}});
  const ValueId f = b.node(OpKind::kFlatten, {c3}, "flatten");
  return b.output(b.node(OpKind::kGemm, {f, b.random("w4", {432, 6}, 0.05f)}, "fc")).build();
}

Recipe static_recipe(const char* rounding, int64_t iters = 300) {
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.equalization = "none";
  config.rounding = rounding;
  config.rounding_iters = iters;
  return config;
}

TEST(AdaRound, StaticQuantizationComesNearer) {
  const Graph graph = network(120);
  const double nearest = sqnr(graph, quantized(graph, static_recipe("nearest"), 32));
  EXPECT_GT(sqnr(graph, quantized(graph, static_recipe("adaround"), 32)), nearest + 1.5);
}

// Each step of every layer; false ends it in the middle of one.
TEST(AdaRound, TellsItsProgressAndCanBeCancelled) {
  const Graph graph = network(30);
  const Model model(std::make_shared<const Graph>(graph));
  AdaroundConfig weights;
  weights.white_list = {"conv"};
  weights.rounding_iters = 50;
  auto all = std::get<StaticQuantConfig>(static_recipe("adaround").stages[0]);
  all.rounding_iters = 50;
  for (const Recipe& recipe : {Recipe(weights), Recipe(all)}) {
    constexpr int64_t kSamples = 8;
    int64_t last = 0, steps = 0, total_steps = 0, until = 0;
    QuantizeOptions options;
    options.progress = [&](int64_t done, int64_t total) {
      if (total == kSamples && steps == 0) return true;  // the data
      EXPECT_GE(done, last);
      last = done;
      ++steps;
      total_steps = total;
      return steps != until;
    };
    RandomLoader data(graph, kSamples);
    ASSERT_TRUE(quantize_model(model, recipe, &data, kSamples, {}, options));
    EXPECT_EQ(total_steps % 50, 0);
    EXPECT_EQ(steps, total_steps);
    EXPECT_EQ(last, total_steps);
    last = steps = 0;
    until = 20;
    RandomLoader again(graph, kSamples);
    const auto cancelled = quantize_model(model, recipe, &again, kSamples, {}, options);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(steps, 20) << "in the first layer";
  }
}

TEST(AdaRound, WeightOnlyQuantizationComesNearer) {
  const Graph graph = network(30);
  RTNConfig rtn;
  AdaroundConfig learned;
  rtn.white_list = learned.white_list = {"conv"};
  EXPECT_GT(sqnr(graph, quantized(graph, learned, 32)), sqnr(graph, quantized(graph, rtn, 32)) + 2);
}

// 8 samples of 432 inputs do not say which errors cancel.
TEST(AdaRound, FewSamplesAreNotLearnedByHeart) {
  const Graph graph = network(30);
  RTNConfig rtn;
  AdaroundConfig learned;
  rtn.white_list = learned.white_list = {"fc"};
  EXPECT_GT(sqnr(graph, quantized(graph, learned, 8)), sqnr(graph, quantized(graph, rtn, 8)) - 0.5);
}

TEST(AdaRound, OptionsAreHeeded) {
  const Graph graph = network(30);
  const auto made = [&](const auto& change) {
    AdaroundConfig config;
    config.rounding_iters = 60;
    change(config);
    return *quantized(graph, config, 8).model.to_compact();
  };
  const auto usual = made([](AdaroundConfig&) {});
  EXPECT_EQ(made([](AdaroundConfig&) {}), usual) << "nothing is random";
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_iters = 90; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_lr = 0.05; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_reg = 0.1; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_beta_start = 4; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_beta_end = 8; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.rounding_warm_up = 0.8; }), usual);
  EXPECT_NE(made([](AdaroundConfig& c) { c.mse = true; }), usual);
}

TEST(AdaRound, TheFileDoesNotDependOnThreads) {
  const Model model(std::make_shared<const Graph>(network(30)));
  const auto pool = std::make_shared<testing::FakePool>();
  for (const Recipe& recipe : {static_recipe("adaround", 40), Recipe(AdaroundConfig())}) {
    std::vector<Bytes> files;
    for (const std::shared_ptr<ThreadPool>& threads :
         {std::shared_ptr<ThreadPool>(), std::shared_ptr<ThreadPool>(pool)}) {
      RandomLoader data(model.graph(), 6);
      const auto result = quantize_model(model, recipe, &data, 100, {}, {.pool = threads});
      ASSERT_TRUE(result) << result.error().to_string();
      files.push_back(*result->model.to_compact());
    }
    EXPECT_EQ(files[0], files[1]);
  }
}

}  // namespace
}  // namespace octavo
