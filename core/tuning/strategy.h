// Strategies propose recipes one after another and see what became of them.
#pragma once

#include <memory>
#include <random>

#include "core/tuning/tuner.h"

namespace octavo {

struct Candidate {
  Recipe recipe;
  std::string phase, description;
};

/// An operator that strategies may vary.
struct TunableOp {
  std::string name, type;
  bool computes = false;  // Conv, MatMul, Gemm: it has weights
};

/// What a strategy works with.
struct TuningContext {
  const Model& model;
  const TuningConfig& config;
  std::vector<TunableOp> ops;         // quantized by the default recipe; in graph order
  std::vector<NamedTensors> samples;  // the first confidence_batches of the calibration data
  const std::vector<TrialRecord>* history = nullptr;
  LossFn loss;
  std::shared_ptr<ThreadPool> pool;
  /// Figures by operator that took work to find: journalled, so that a resumed run has them.
  std::function<Result<std::vector<double>>(const std::string& key,
                                            const std::function<Result<std::vector<double>>()>&)>
      remember;

  /// a is better than b (both came to their end).
  bool better_accuracy(const TrialRecord& a, const TrialRecord& b) const {
    return config.higher_is_better ? a.accuracy > b.accuracy : a.accuracy < b.accuracy;
  }
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  /// nullopt: the strategy is at its end.
  virtual Result<std::optional<Candidate>> next(TuningContext& context) = 0;
  /// What became of the last candidate.
  virtual void report(TuningContext&, const TrialRecord&) {}
  /// A recipe that holds does not end tuning before the strategy is at its end.
  virtual bool runs_to_its_end() const { return false; }
};

/// The strategy of config.strategy.
std::unique_ptr<Strategy> make_strategy(const TuningConfig& config);

// Parts of strategies (core/tuning/fallback.cc, core/tuning/search.cc).

/// The default recipe alone; all of config_set.
std::unique_ptr<Strategy> make_default();
std::unique_ptr<Strategy> make_config_set();
std::unique_ptr<Strategy> make_conservative();
std::unique_ptr<Strategy> make_basic();
std::unique_ptr<Strategy> make_mse();
std::unique_ptr<Strategy> make_mse_v2();
std::unique_ptr<Strategy> make_hawq_v2();
enum class SearchKind : uint8_t { kExhaustive, kRandom, kTpe, kBayesian };
std::unique_ptr<Strategy> make_search(SearchKind kind, uint64_t seed);

// Recipes (core/tuning/space.cc).

/// The recipe that tuning starts from: the first of config_set, or static quantization.
Recipe default_recipe(const TuningConfig& config);
/// The operators that static quantization quantizes and config.white_list names.
Result<std::vector<TunableOp>> tunable_ops(const Model& model, const TuningConfig& config);
/// The recipes of all combinations of what holds for whole operator types, the default first:
/// activations' scheme and algorithm, weights' scheme, algorithm and granularity, the last varying
/// fastest.
std::vector<Recipe> type_wise_recipes(const Recipe& base);
/// The recipe with each other way of choosing activations' ranges.
std::vector<Recipe> calibration_recipes(const Recipe& base);
/// The recipe with these operators in another type ("fp32", "bf16", "fp16").
Recipe with_fallback(Recipe recipe, std::span<const std::string> ops, const std::string& dtype);
/// Options of one operator: name and value, as text.
using OpChoice = std::vector<std::pair<std::string, std::string>>;
/// How a recipe differs from the base, in words: "weight_granularity per_tensor".
std::string describe_recipe(const Recipe& recipe, const Recipe& base);
/// What an operator may be set to, the default first.
std::vector<OpChoice> op_choices(bool with_float);
Recipe with_choice(Recipe recipe, const std::string& op, const OpChoice& choice);
/// Recipes that change one thing for the whole pipeline: first or last operators in float, ...
std::vector<Candidate> recipe_variants(const TuningContext& context, const Recipe& base);

// Sensitivities, by operator in context.ops' order (core/tuning/sensitivity.cc).

/// Normalized mean squared error of each operator's output between the float model and the
/// recipe's; larger is worse.
Result<std::vector<double>> output_errors(TuningContext& context, const Recipe& recipe);
/// Mean squared error of the model's outputs with one more operator in `dtype` (`add`), or with one
/// operator fewer left in it. Operators that are (or are not) in `fallen` already: NaN.
Result<std::vector<double>> model_errors(TuningContext& context, const Recipe& recipe,
                                         const std::vector<std::string>& fallen,
                                         const std::string& dtype, bool add);
/// Trace of the Hessian of the loss over each operator's weights, by finite differences; 0 for
/// operators without.
Result<std::vector<double>> hessian_traces(TuningContext& context);

}  // namespace octavo
