// What autotune does around its strategies: trials, budgets, objectives, the journal, messages and
// the configuration.
#include "core/tuning/decision.h"
#include "core/tuning/strategy.h"
#include "tests/tuning_case.h"

namespace octavo::testing {
namespace {

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
}  // namespace octavo::testing
