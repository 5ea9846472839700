// Every strategy of autotune finds what it is there to find.
#include <set>

#include "core/tuning/strategy.h"
#include "tests/tuning_case.h"

namespace octavo::testing {
namespace {

TEST_F(TuningTest, TheDefaultIsEnoughWhereItHolds) {
  const TuningResult result = tuned({}, losing({}));
  EXPECT_TRUE(result.success);
  ASSERT_EQ(result.trials.size(), 1u);
  EXPECT_EQ(result.trials[0].phase, "default");
  EXPECT_EQ(evaluations_, 2) << "the float model and one trial";
  EXPECT_TRUE(is_quantized(result.model->model, "conv1"));
  EXPECT_EQ(result.stopped, "a recipe holds the accuracy");
  EXPECT_NE(result.decision.find("Trial 1"), std::string::npos) << result.decision;
}

TEST_F(TuningTest, BasicFindsTheOneOperatorThatLoses) {
  TuningConfig config;
  config.strategy = "basic";
  config.config_set = two_recipes();
  const TuningResult result = tuned(config, losing({"conv2"}));
  EXPECT_TRUE(result.success);
  const Model& best = result.model->model;
  EXPECT_FALSE(is_quantized(best, "conv2"));
  for (const char* node : {"conv1", "conv3", "fc"}) EXPECT_TRUE(is_quantized(best, node)) << node;
  EXPECT_EQ(described(result, "op by op"),
            (std::vector<std::string>{"conv3 in fp32", "conv2 in fp32"}))
      << "from the bottom; fc alone was the recipe phase's last operator";
}

TEST_F(TuningTest, BasicAccumulatesByImpact) {
  TuningConfig config;
  config.strategy = "basic";
  config.config_set = {two_recipes()[0]};
  const auto eval_fn = [&](const Model& model) -> Result<EvalResult> {
    return EvalResult(1 - (is_quantized(model, "conv1") ? 0.1 : 0) -
                      (is_quantized(model, "conv2") ? 0.3 : 0) -
                      (is_quantized(model, "conv3") ? 0.2 : 0));
  };
  const TuningResult result = tuned(config, eval_fn);
  EXPECT_TRUE(result.success);
  const auto steps = described(result, "accumulated");
  ASSERT_EQ(steps.size(), 2u) << "the first step is the best single fallback again";
  EXPECT_EQ(steps[0], "2 operators in fp32, the last of them conv3");
  EXPECT_EQ(steps[1], "3 operators in fp32, the last of them conv1");
  EXPECT_TRUE(is_quantized(result.model->model, "fc"));
}

TEST_F(TuningTest, BasicTriesTypeWideOptionsFirst) {
  TuningConfig config;
  config.strategy = "basic";
  // Only weights per tensor hold.
  const TuningResult result = tuned(config, [](const Model& model) -> Result<EvalResult> {
    const QuantParams* quant = weight_quant(model, "conv1");
    return EvalResult(quant != nullptr && !quant->per_tensor() ? 0.5 : 1);
  });
  EXPECT_TRUE(result.success);
  EXPECT_EQ(described(result, "operator types").back(), "weight_granularity per_tensor");
}

TEST_F(TuningTest, ConservativeKeepsTheTypesThatHold) {
  TuningConfig config;
  config.strategy = "conservative";
  const TuningResult result = tuned(config, losing({"conv1"}));
  EXPECT_TRUE(result.success);
  ASSERT_EQ(result.trials.size(), 2u);
  EXPECT_EQ(result.trials[0].description, "only Conv quantized");
  EXPECT_FALSE(result.trials[0].holds);
  EXPECT_EQ(result.trials[1].description, "only Gemm quantized");
  EXPECT_FALSE(is_quantized(result.model->model, "conv3"));
  EXPECT_TRUE(is_quantized(result.model->model, "fc"));
}

TEST_F(TuningTest, ConservativeRunsToItsEnd) {
  TuningConfig config;
  config.strategy = "conservative";
  const TuningResult result = tuned(config, losing({}));
  EXPECT_EQ(result.trials.size(), 2u);
  EXPECT_EQ(result.best, 2) << "more is quantized";
  EXPECT_TRUE(is_quantized(result.model->model, "conv1"));
  EXPECT_TRUE(is_quantized(result.model->model, "fc"));
}

TEST_F(TuningTest, AutoGoesOnToOtherRangesConservativeAndBasic) {
  TuningConfig config;
  config.max_trials = 1000;
  const TuningResult result = tuned(config, losing({"conv1", "fc"}));
  EXPECT_EQ(result.trials[0].phase, "default");
  const std::vector<std::string> ranges = described(result, "calibration");
  ASSERT_EQ(ranges.size(), 8u);
  EXPECT_EQ(ranges[0], "act_algorithm minmax");
  EXPECT_EQ(result.trials[9].phase, "conservative");
  EXPECT_TRUE(result.success);
  EXPECT_FALSE(is_quantized(result.model->model, "conv1"));
  EXPECT_FALSE(is_quantized(result.model->model, "fc"));
}

TEST_F(TuningTest, MseBeginsWithTheLargestError) {
  model_ = uneven_chain();
  TuningConfig config;
  config.strategy = "mse";
  config.config_set = {two_recipes()[1]};
  const TuningResult result = tuned(config, losing({"conv1", "conv2", "conv3", "fc"}));
  const auto steps = described(result, "op by op");
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_NE(steps[0], "conv1 in fp32") << "before the coarse weights the error is small";
  EXPECT_EQ(steps[3], "conv1 in fp32");
}

TEST_F(TuningTest, MseV2FallsBackAndQuantizesAgain) {
  model_ = uneven_chain();
  TuningConfig config;
  config.strategy = "mse_v2";
  StaticQuantConfig coarse;
  coarse.weight_granularity = "per_tensor";
  coarse.act_algorithm = "minmax";
  coarse.act_sym = true;
  config.config_set = {coarse};
  // conv2 is what the outputs say; conv1 is what the accuracy wants.
  const TuningResult result = tuned(config, losing({"conv1"}));
  EXPECT_TRUE(result.success);
  const auto fallen = described(result, "fall back");
  ASSERT_FALSE(fallen.empty());
  EXPECT_TRUE(fallen[0].starts_with("conv2 in fp32 too")) << fallen[0];
  EXPECT_FALSE(described(result, "quantize again").empty());
  // Whatever fell back without need is quantized again.
  const TrialRecord& last_holding = *std::ranges::find_if(
      result.trials.rbegin(), result.trials.rend(), [](const TrialRecord& t) { return t.holds; });
  const Recipe recipe = *Recipe::from_json(last_holding.recipe);
  RandomLoader data(model_.graph(), 4);
  const auto model = quantize_model(model_, recipe, &data);
  ASSERT_TRUE(model);
  EXPECT_FALSE(is_quantized(model->model, "conv1"));
  for (const char* node : {"conv2", "conv3", "fc"}) {
    EXPECT_TRUE(is_quantized(model->model, node)) << node;
  }
}

TEST_F(TuningTest, HawqFollowsTheGivenLoss) {
  TuningConfig config;
  config.strategy = "hawq_v2";
  config.config_set = {two_recipes()[0]};
  AutotuneOptions options;
  // Its Hessian is 2 for each of fc's weights, 6 for conv2's, and 0 elsewhere.
  options.loss = [](const Model& model) -> Result<double> {
    double loss = 0;
    for (const auto& [name, factor] : {std::pair{"fc", 1.0}, {"conv2", 60.0}}) {
      const auto node = std::ranges::find(model.graph().nodes, name, &Node::name);
      for (const float w : model.graph().value(node->inputs[1]).constant.data<const float>()) {
        loss += factor * w * w;
      }
    }
    return loss;
  };
  const TuningResult result = tuned(config, losing({"conv2", "fc"}), options);
  EXPECT_TRUE(result.success);
  EXPECT_EQ(
      described(result, "accumulated"),
      (std::vector<std::string>{"conv2 in fp32", "2 operators in fp32, the last of them fc"}));
}

TEST_F(TuningTest, HawqHasALossOfItsOwn) {
  TuningConfig config;
  TuningContext context{.model = model_, .config = config};
  context.ops = *tunable_ops(model_, config);
  RandomLoader data(model_.graph(), 2);
  while (auto feeds = *data.next()) context.samples.push_back(*feeds);
  const auto traces = hessian_traces(context);
  ASSERT_TRUE(traces) << traces.error().to_string();
  for (const double trace : *traces) EXPECT_GT(trace, 0);
  // The outputs are linear in fc's weights: the trace is 2 |x|^2 summed over outputs, over count.
  context.samples.clear();
  EXPECT_FALSE(hessian_traces(context)) << "without samples there is nothing to judge by";
}

TEST_F(TuningTest, ExhaustiveCountsUp) {
  TuningConfig config;
  config.strategy = "exhaustive";
  config.max_trials = 3;
  config.tolerable_loss = -1;  // never
  const TuningResult result = tuned(config, losing({}));
  ASSERT_EQ(result.trials.size(), 3u);
  EXPECT_EQ(result.trials[0].description, "default");
  EXPECT_EQ(result.trials[1].description, "other options for fc");
  EXPECT_EQ(result.trials[2].description, "other options for fc");
  EXPECT_NE(result.trials[1].recipe, result.trials[2].recipe);
  EXPECT_FALSE(result.success);
  EXPECT_EQ(result.stopped, "max_trials (3) is reached");
}

TEST_F(TuningTest, RandomDependsOnTheSeed) {
  TuningConfig config;
  config.strategy = "random";
  config.max_trials = 4;
  config.tolerable_loss = -1;
  const auto recipes = [&](int64_t seed) {
    config.seed = seed;
    std::vector<std::string> list;
    for (const TrialRecord& trial : tuned(config, losing({})).trials) list.push_back(trial.recipe);
    return list;
  };
  const auto first = recipes(1);
  EXPECT_EQ(first, recipes(1));
  EXPECT_NE(first, recipes(2));
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 4u);
}

// Later trials are better than the random ones at the beginning.
double improvement(const TuningResult& result) {
  const auto mean = [&](size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += result.trials[i].accuracy;
    return sum / static_cast<double>(to - from);
  };
  return mean(result.trials.size() - 15, result.trials.size()) - mean(0, 10);
}

TEST_F(TuningTest, TpeAndBayesianLearn) {
  TuningConfig config;
  config.max_trials = 50;
  config.tolerable_loss = -1;
  const auto eval_fn = [](const Model& model) -> Result<EvalResult> {
    double accuracy = 1;
    for (const char* node : {"conv1", "conv2", "conv3", "fc"}) {
      const QuantParams* quant = weight_quant(model, node);
      if (quant != nullptr && quant->per_tensor()) accuracy -= 0.1;
    }
    return EvalResult(accuracy);
  };
  for (const char* strategy : {"tpe", "bayesian"}) {
    config.strategy = strategy;
    const TuningResult result = tuned(config, eval_fn);
    ASSERT_GE(result.trials.size(), 40u) << strategy;
    EXPECT_GT(improvement(result), 0.07) << strategy;
  }
}

}  // namespace
}  // namespace octavo::testing
