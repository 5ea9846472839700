// Every option of autotune changes what it does.
#include <algorithm>
#include <set>

#include "core/tuning/tuner.h"
#include "tests/random_loader.h"
#include "tests/tuning_chain.h"

namespace octavo {
namespace {

// What was tried, what became of it and what is best, in words; or an error.
std::string trials_of(const std::string& options) {
  const auto config = TuningConfig::from_json(concat("{", options, "}"));
  EXPECT_TRUE(config) << options << ": " << config.error().to_string();
  if (!config) return "";
  const Model model(std::make_shared<const Graph>(tuning_chain(6)));
  RandomLoader data(model.graph(), 4);
  double time = 0;
  AutotuneOptions tuning;
  tuning.clock = [&] { return time; };
  // Each quantized layer costs accuracy, more behind weights with one scale, and wins time.
  const auto eval_fn = [&](const Model& made) -> Result<EvalResult> {
    time += 10;
    double accuracy = 0.5, latency = 2;
    for (const auto& [name, cost] :
         {std::pair{"conv1", 0.006}, {"conv2", 0.002}, {"conv3", 0.001}, {"fc", 0.0005}}) {
      const QuantParams* quant = weight_quant(made, name);
      if (quant == nullptr) continue;
      accuracy -= quant->per_tensor() ? cost / 10 : cost;
      latency -= quant->per_tensor() ? 0.1 : 0.2;
    }
    return EvalResult(accuracy, latency);
  };
  const auto result = autotune(model, *config, eval_fn, &data, 4, {}, tuning);
  if (!result) return result.error().to_string();
  std::string text = concat("best ", result->best, result->success ? " holds, " : ", ",
                            data.served_in_all(), " samples read\n");
  for (const TrialRecord& trial : result->trials) {
    text += concat(trial.phase, ": ", trial.description, trial.holds ? " holds\n" : "\n");
  }
  return text;
}

struct TuningCase {
  const char* option;
  std::vector<const char*> values;  // JSON, each other than the default
  const char* base;                 // options beside it
};
// Five recipes: per channel and per tensor, all operators and fewer.
constexpr const char* kSet =
    R"("config_set": [{"static_quant": {"weight_granularity": ["per_channel", "per_tensor"],
                                        "white_list": ["*"]}},
                      {"static_quant": {"weight_granularity": ["per_channel", "per_tensor"],
                                        "white_list": ["Conv"]}},
                      {"static_quant": {"white_list": ["Gemm"]}}])";
const std::string kWholeSet = concat(kSet, R"(, "stop_at_first": false, "criterion": "absolute")");
// Nothing holds, so that a strategy goes on.
constexpr const char* kNever =
    R"("tolerable_loss": -1, "max_trials": 24, "config_set": [{"static_quant": {}}])";
constexpr const char* kByError =
    R"("tolerable_loss": -1, "max_trials": 24, "strategy": "mse", "config_set": [{"static_quant": {}}])";
constexpr const char* kRandom = R"("tolerable_loss": -1, "max_trials": 6, "strategy": "random")";

const std::vector<TuningCase>& tuning_cases() {
  static const std::vector<TuningCase> kCases = {
      {"strategy",
       {R"("basic")", R"("conservative")", R"("mse")", R"("mse_v2")", R"("hawq_v2")",
        R"("bayesian")", R"("exhaustive")", R"("random")", R"("tpe")"},
       kNever},
      {"sampler", {R"("random")"}, kWholeSet.c_str()},
      {"tolerable_loss", {"0.5", "-1"}, kSet},
      {"criterion", {R"("absolute")"}, kSet},
      {"higher_is_better", {"false"}, kSet},
      {"max_trials", {"2"}, kWholeSet.c_str()},
      {"timeout", {"25"}, kWholeSet.c_str()},
      {"stop_at_first", {"false"}, kSet},
      {"objective",
       {R"(["accuracy"])", R"(["size"])", R"(["memory"])", R"(["accuracy=0.99", "latency=0.01"])"},
       kWholeSet.c_str()},
      {"fallback_dtypes", {R"(["bf16"])", R"(["bf16", "fp32"])"}, kByError},
      {"confidence_batches", {"1"}, kByError},
      {"seed", {"7"}, kRandom},
      {"white_list", {R"(["conv2"])"}, kByError},
  };
  return kCases;
}

TEST(TuningOptions, EachChangesTheTrials) {
  for (const TuningCase& c : tuning_cases()) {
    const std::string before = trials_of(c.base);
    std::set<std::string> seen;
    for (const char* value : c.values) {
      const std::string options = concat(c.base, ", \"", c.option, "\": ", value);
      const std::string after = trials_of(options);
      EXPECT_NE(after, before) << options << " does nothing";
      const bool is_new = seen.insert(after).second;
      EXPECT_TRUE(is_new || c.option != std::string_view("strategy"))
          << options << " does what another strategy does:\n"
          << after;
    }
  }
}

// Of a choice among texts every text.
TEST(TuningOptions, EachIsTried) {
  TuningConfig config;
  for (const OptionDef& option : TuningConfig::fields()) {
    const auto found = std::ranges::find_if(tuning_cases(), [&](const TuningCase& c) {
      return option.name == std::string_view(c.option);
    });
    ASSERT_NE(found, tuning_cases().end()) << option.name << " has no case here";
    for (const char* choice : option.choices) {
      const std::string text = concat('"', choice, '"');
      EXPECT_TRUE(text == concat('"', option_text(option, config), '"') ||
                  std::ranges::contains(found->values, text))
          << option.name << " " << choice;
    }
  }
}

}  // namespace
}  // namespace octavo
