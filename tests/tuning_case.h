// Small networks whose accuracy is a function of which operators are quantized, and how.
#pragma once

#include <algorithm>

#include "core/tuning/tuner.h"
#include "tests/random_loader.h"
#include "tests/tuning_chain.h"

namespace octavo::testing {

// conv2's weights hold one that is far larger than the others.
inline Model uneven_chain() {
  Graph graph = tuning_chain();
  const auto conv2 = std::ranges::find(graph.nodes, "conv2", &Node::name);
  Tensor weights = GraphBuilder::random_tensor("w_conv2", {4, 4, 1, 1});
  weights.data<float>()[5] = 60;
  graph.value(conv2->inputs[1]).constant = std::move(weights);
  return Model(std::make_shared<const Graph>(std::move(graph)));
}

inline bool is_quantized(const Model& model, const std::string& node) {
  return weight_quant(model, node) != nullptr;
}

class TuningTest : public ::testing::Test {
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

}  // namespace octavo::testing
