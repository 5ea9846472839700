// Autotune: every strategy and option on small networks whose accuracy is a function of which
// operators are quantized, and how.
#include <algorithm>
#include <set>

#include "core/tuning/decision.h"
#include "core/tuning/journal.h"
#include "core/tuning/strategy.h"
#include "tests/random_loader.h"
#include "tests/tuning_chain.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

bool is_quantized(const Model& model, const std::string& node) {
  return weight_quant(model, node) != nullptr;
}

class TuningTest : public testing::Test {
 protected:
  /// The accuracy is 1, less `cost` for each of these that is quantized.
  EvalFn losing(std::vector<std::string> nodes, double cost = 0.1) {
    return [this, nodes, cost](const Model& model) -> Result<EvalResult> {
      ++evaluations_;
      double accuracy = 1;
      for (const std::string& node : nodes) accuracy -= is_quantized(model, node) ? cost : 0;
      return EvalResult(accuracy, latency_);
    };
  }
  Result<TuningResult> tune(const TuningConfig& config, const EvalFn& eval_fn,
                            AutotuneOptions options = {}) {
    RandomLoader data(model_.graph(), 4);
    evaluations_ = 0;
    auto result = autotune(model_, config, eval_fn, &data, 4, {}, options);
    samples_read_ = data.served_in_all();
    return result;
  }
  TuningResult tuned(const TuningConfig& config, const EvalFn& eval_fn,
                     const AutotuneOptions& options = {}) {
    auto result = tune(config, eval_fn, options);
    EXPECT_TRUE(result) << result.error().to_string();
    return result ? *std::move(result) : TuningResult();
  }
  static std::vector<std::string> described(const TuningResult& result, const std::string& phase) {
    std::vector<std::string> list;
    for (const TrialRecord& trial : result.trials) {
      if (trial.phase == phase) list.push_back(trial.description);
    }
    return list;
  }
  /// Two recipes: per channel, per tensor.
  static std::vector<Recipe> two_recipes() {
    StaticQuantConfig per_channel, per_tensor;
    per_tensor.weight_granularity = "per_tensor";
    return {per_channel, per_tensor};
  }

  Model model_{std::make_shared<const Graph>(tuning_chain())};
  int evaluations_ = 0;
  int64_t samples_read_ = 0;
  double latency_ = 1;
};

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

// conv2's weights hold one that is far larger than the others.
Model uneven_chain() {
  Graph graph = tuning_chain();
  const auto conv2 = std::ranges::find(graph.nodes, "conv2", &Node::name);
  Tensor weights = GraphBuilder::random_tensor("w_conv2", {4, 4, 1, 1});
  weights.data<float>()[5] = 60;
  graph.value(conv2->inputs[1]).constant = std::move(weights);
  return Model(std::make_shared<const Graph>(std::move(graph)));
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

TEST_F(TuningTest, ConfigSetIsTriedInTheSamplersOrder) {
  TuningConfig config;
  config.config_set = two_recipes();
  config.tolerable_loss = -1;
  const TuningResult forth = tuned(config, losing({}));
  ASSERT_EQ(forth.trials.size(), 2u);
  EXPECT_EQ(forth.trials[0].recipe, two_recipes()[0].to_json());
  EXPECT_EQ(forth.stopped, "the strategy has no further recipe to try");
  config.sampler = "random";
  bool turned = false;
  for (config.seed = 0; config.seed < 20 && !turned; ++config.seed) {
    turned = tuned(config, losing({})).trials[0].recipe == two_recipes()[1].to_json();
  }
  EXPECT_TRUE(turned);
}

TEST_F(TuningTest, WhiteListBoundsWhatFallsBack) {
  TuningConfig config;
  config.strategy = "basic";
  config.config_set = {two_recipes()[0]};
  config.white_list = {"conv1", "conv3"};
  const TuningResult result = tuned(config, losing({"conv2"}));
  EXPECT_FALSE(result.success);
  for (const TrialRecord& trial : result.trials) {
    EXPECT_EQ(trial.description.find("conv2"), std::string::npos) << trial.description;
  }
}

TEST_F(TuningTest, TheTimeoutIsKept) {
  TuningConfig config;
  config.strategy = "basic";
  config.timeout = 25;
  double time = 0;
  AutotuneOptions options;
  options.clock = [&] { return time; };
  const TuningResult result = tuned(
      config,
      [&](const Model& model) -> Result<EvalResult> {
        time += 10;
        return EvalResult(is_quantized(model, "conv1") ? 0 : 1, 1.0);
      },
      options);
  EXPECT_EQ(result.trials.size(), 2u) << "10 s for the float model and each trial";
  EXPECT_EQ(result.stopped, "the timeout of 25 s has passed");
  EXPECT_EQ(result.trials[0].evaluate_s, 10);
}

TEST_F(TuningTest, ObjectivesChooseAmongWhatHolds) {
  TuningConfig config;
  config.config_set = two_recipes();
  config.stop_at_first = false;
  double fast = 1;  // per tensor
  const auto eval_fn = [&](const Model& model) -> Result<EvalResult> {
    const QuantParams* quant = weight_quant(model, "conv1");
    const bool per_tensor = quant != nullptr && quant->per_tensor();
    return EvalResult(per_tensor ? 0.995 : 1, per_tensor ? fast : 2);
  };
  config.objective = {"latency"};
  EXPECT_EQ(tuned(config, eval_fn).best, 2);
  config.objective = {"accuracy"};
  EXPECT_EQ(tuned(config, eval_fn).best, 1);
  config.objective = {"accuracy=0.99", "latency=0.01"};
  EXPECT_EQ(tuned(config, eval_fn).best, 2);
  fast = 2.1;
  EXPECT_EQ(tuned(config, eval_fn).best, 1);
  EXPECT_EQ(tuned(config, eval_fn).trials.size(), 2u) << "the whole set";
  const std::string fc = "fc";
  config.config_set = {with_fallback(config.config_set[0], {&fc, 1}, "fp32"), config.config_set[1]};
  config.objective = {"size"};
  EXPECT_EQ(tuned(config, eval_fn).best, 2) << "though it loses more";
}

TEST_F(TuningTest, AFailedTrialIsAResult) {
  TuningConfig config;
  config.config_set = two_recipes();
  StaticQuantConfig unknown;
  unknown.set_local("no_such_node", {});
  config.config_set.insert(config.config_set.begin(), unknown);
  config.tolerable_loss = 0;
  int calls = 0;
  const TuningResult result = tuned(config, [&](const Model&) -> Result<EvalResult> {
    if (++calls == 2) return fail(ErrorCode::kInternal, "the power failed");
    return EvalResult(1);
  });
  ASSERT_EQ(result.trials.size(), 3u);
  EXPECT_NE(result.trials[0].error.find("no_such_node"), std::string::npos);
  EXPECT_EQ(result.trials[1].error, "the power failed");
  EXPECT_EQ(result.best, 3);
  EXPECT_TRUE(result.success);
}

TEST_F(TuningTest, AJournalIsResumed) {
  TuningConfig config;
  config.strategy = "mse";
  config.config_set = {two_recipes()[1]};
  config.max_trials = 3;
  std::string journal;
  AutotuneOptions options;
  options.journal = [&](std::string_view line) -> Status {
    journal += line;
    return {};
  };
  const auto eval_fn = losing({"conv1", "conv2", "conv3", "fc"});
  const TuningResult before = tuned(config, eval_fn, options);
  EXPECT_EQ(std::ranges::count(journal, '\n'), 6)
      << "header, baseline, three trials, one analysis: " << journal;

  options.resume = journal + "{\"trial\": 4, \"acc";  // the crash came while this was written
  journal.clear();
  config.max_trials = 5;
  const TuningResult after = tuned(config, eval_fn, options);
  EXPECT_EQ(evaluations_, 2) << "two new trials, and no baseline";
  ASSERT_EQ(after.trials.size(), 5u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(after.trials[i].resumed);
    EXPECT_EQ(after.trials[i].recipe, before.trials[i].recipe);
    EXPECT_EQ(after.trials[i].accuracy, before.trials[i].accuracy);
  }
  EXPECT_EQ(std::ranges::count(journal, '\n'), 2) << "only what is new: " << journal;
  EXPECT_TRUE(after.model) << "the best is there even if the journal had it";

  model_ = uneven_chain();
  const auto other = tune(config, eval_fn, options);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("another model"), std::string::npos);
  options.resume = "{\"octavo_tuning\": 1}\n{\"trial\":\n";
  EXPECT_EQ(tune(config, eval_fn, options).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(TuningTest, EqualModelsAreEvaluatedOnce) {
  TuningConfig config;
  StaticQuantConfig a = std::get<StaticQuantConfig>(two_recipes()[0].stages[0]), b = a;
  b.set_local("conv1", a);  // says the same
  config.config_set = {a, b};
  config.tolerable_loss = -1;
  const TuningResult result = tuned(config, losing({}));
  ASSERT_EQ(result.trials.size(), 2u);
  EXPECT_EQ(evaluations_, 2) << "the float model and the first";
  EXPECT_EQ(result.trials[1].same_as, 1);
  EXPECT_EQ(result.trials[1].accuracy, result.trials[0].accuracy);
}

TEST_F(TuningTest, MessagesSayWhatItCostAndWhatIsNext) {
  TuningConfig config;
  config.config_set = two_recipes();
  config.tolerable_loss = -1;
  std::vector<std::string> messages;
  AutotuneOptions options;
  double time = 0;
  options.clock = [&] { return time += 0.5; };
  options.on_trial = [&](const TrialRecord&, const std::string& message) {
    messages.push_back(message);
    return true;
  };
  tuned(config, losing({}), options);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_NE(messages[0].find("s to quantize"), std::string::npos) << messages[0];
  EXPECT_NE(messages[0].find("Next: config_set: weight_granularity per_tensor"), std::string::npos)
      << messages[0];
  EXPECT_NE(messages[1].find("Over: "), std::string::npos) << messages[1];
  options.on_trial = [](const TrialRecord&, const std::string&) { return false; };
  EXPECT_EQ(tune(config, losing({}), options).error().code, ErrorCode::kCancelled);
}

TEST_F(TuningTest, TheParetoFrontIsWhatNothingBeats) {
  TuningConfig config;
  TrialRecord baseline, a, b, c;
  const auto fill = [](TrialRecord& r, int64_t index, double accuracy, double ms, int64_t size) {
    r.index = index;
    r.accuracy = accuracy;
    r.latency_ms = ms;
    r.size_bytes = size;
  };
  fill(baseline, 0, 0.9, 10, 100);
  fill(a, 1, 0.8, 5, 50);
  fill(b, 2, 0.85, 4, 50);  // beats a
  fill(c, 3, 0.7, 9, 20);
  EXPECT_EQ(pareto_front(config, baseline, {a, b, c}), (std::vector<int64_t>{0, 2, 3}));
  config.higher_is_better = false;
  EXPECT_EQ(pareto_front(config, baseline, {a, b, c}), (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(TuningTest, LossesAreRelativeOrAbsoluteAndUpOrDown) {
  TuningConfig config;
  EXPECT_NEAR(accuracy_loss(config, 0.8, 0.72), 0.1, 1e-12);
  EXPECT_NEAR(accuracy_loss(config, -2, -2.2), 0.1, 1e-12) << "negative scores too";
  EXPECT_EQ(accuracy_loss(config, 0, -0.5), 0.5) << "nothing is divided by 0";
  config.criterion = "absolute";
  EXPECT_NEAR(accuracy_loss(config, 0.8, 0.72), 0.08, 1e-12);
  config.higher_is_better = false;
  EXPECT_NEAR(accuracy_loss(config, 0.8, 0.72), -0.08, 1e-12);
}

TEST_F(TuningTest, LowerIsBetter) {
  TuningConfig config;
  config.higher_is_better = false;
  config.strategy = "basic";
  config.config_set = {two_recipes()[0]};
  const TuningResult result = tuned(config, [](const Model& model) -> Result<EvalResult> {
    return EvalResult(is_quantized(model, "conv3") ? 3.0 : 2.0);  // an error rate
  });
  EXPECT_TRUE(result.success);
  EXPECT_FALSE(is_quantized(result.model->model, "conv3"));
  EXPECT_TRUE(is_quantized(result.model->model, "conv1"));
}

TEST(TuningConfigTest, JsonOfLists) {
  const auto config = TuningConfig::from_json(R"({
      "tolerable_loss": 0.005, "strategy": "mse",
      "config_set": [{"static_quant": {"weight_granularity": ["per_tensor", "per_channel"],
                                       "act_sym": [true, false], "white_list": ["Conv"]}},
                     {"act_dtype": "uint8"}]})");
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->tolerable_loss, 0.005);
  ASSERT_EQ(config->config_set.size(), 5u);
  const auto stage = [&](size_t i) {
    return std::get<StaticQuantConfig>(config->config_set[i].stages[0]);
  };
  EXPECT_EQ(stage(1).weight_granularity, "per_tensor");
  EXPECT_FALSE(stage(1).act_sym) << "the last varies fastest";
  EXPECT_EQ(stage(3).weight_granularity, "per_channel");
  EXPECT_EQ(stage(3).white_list, (std::vector<std::string>{"Conv"}));
  EXPECT_EQ(stage(4).act_dtype, "uint8");
  const auto again = TuningConfig::from_json(config->to_json());
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->to_json(), config->to_json());
}

TEST(TuningConfigTest, WrongJsonIsAnErrorWithTheNearestName) {
  const auto message = [](const char* json) {
    const auto config = TuningConfig::from_json(json);
    return config ? std::string("accepted") : config.error().message;
  };
  EXPECT_NE(message(R"({"max_trial": 3})").find("max_trials"), std::string::npos);
  EXPECT_NE(message(R"({"strategy": "luck"})").find("hawq_v2"), std::string::npos);
  EXPECT_NE(message(R"({"objective": ["latencys"]})").find("did you mean"), std::string::npos);
  EXPECT_NE(message(R"({"objective": ["latency=x"]})").find("number"), std::string::npos);
  EXPECT_NE(message(R"({"config_set": [{"static_quan": {}}]})"), "accepted");
  EXPECT_NE(message(R"({"max_trials": 0})"), "accepted");
  EXPECT_NE(message(R"({"fallback_dtypes": ["int7"]})"), "accepted");
  EXPECT_NE(message(R"({"local": {}})"), "accepted");
  EXPECT_NE(message("["), "accepted");
}

}  // namespace
}  // namespace octavo
