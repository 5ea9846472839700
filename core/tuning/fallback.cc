// Strategies that leave operators in floating point until the accuracy holds.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/tuning/strategy.h"
#include "runtime/op.h"

namespace octavo {
namespace {

/// What the phases of one strategy hand on.
struct Progress {
  std::optional<Recipe> base;  // whose operators fall back: the most accurate so far
  TrialRecord base_record;
  std::map<std::string, double> impact;  // accuracy won by an operator's fallback, better = higher
};
using ProgressPtr = std::shared_ptr<Progress>;

double gain(const TuningContext& context, double accuracy, double before) {
  return context.config.higher_is_better ? accuracy - before : before - accuracy;
}

/// Candidates made beforehand, when the phase begins.
class ListPhase : public Strategy {
 public:
  Result<std::optional<Candidate>> next(TuningContext& context) override {
    if (!begun_) {
      begun_ = true;
      OCTAVO_ASSIGN(list_, make(context));
    }
    if (at_ == list_.size()) return std::nullopt;
    return list_[at_++];
  }

 protected:
  virtual Result<std::vector<Candidate>> make(TuningContext& context) = 0;
  const Candidate& last() const { return list_[at_ - 1]; }

 private:
  std::vector<Candidate> list_;
  size_t at_ = 0;
  bool begun_ = false;
};

/// config_set, or the combinations of what holds for whole operator types; `count` of them from
/// `first` on. The most accurate becomes the base.
class TypeWisePhase : public ListPhase {
 public:
  TypeWisePhase(ProgressPtr progress, size_t first, size_t count)
      : progress_(std::move(progress)), first_(first), count_(count) {}

  Result<std::vector<Candidate>> make(TuningContext& context) override {
    const Recipe base = default_recipe(context.config);
    std::vector<Candidate> list;
    if (!context.config.config_set.empty()) {
      for (const Recipe& recipe : context.config.config_set) {
        list.push_back({recipe, "config_set", describe_recipe(recipe, base)});
      }
    } else {
      for (const Recipe& recipe : type_wise_recipes(base)) {
        list.push_back(
            {recipe, list.empty() ? "default" : "operator types", describe_recipe(recipe, base)});
      }
    }
    list.erase(list.begin(), list.begin() + static_cast<ptrdiff_t>(std::min(first_, list.size())));
    if (list.size() > count_) list.resize(count_);
    return list;
  }
  void report(TuningContext& context, const TrialRecord& record) override {
    if (!record.ok()) return;
    if (progress_->base && !context.better_accuracy(record, progress_->base_record)) return;
    progress_->base = last().recipe;
    progress_->base_record = record;
  }

 private:
  ProgressPtr progress_;
  size_t first_, count_;
};

/// Other ranges of activations. They cost next to nothing: trials share their calibration.
class CalibrationPhase : public ListPhase {
  Result<std::vector<Candidate>> make(TuningContext& context) override {
    const Recipe base = default_recipe(context.config);
    std::vector<Candidate> list;
    for (const Recipe& recipe : calibration_recipes(base)) {
      list.push_back({recipe, "calibration", describe_recipe(recipe, base)});
    }
    return list;
  }
};

class VariantsPhase : public ListPhase {
 public:
  explicit VariantsPhase(ProgressPtr progress) : progress_(std::move(progress)) {}
  Result<std::vector<Candidate>> make(TuningContext& context) override {
    if (!progress_->base) return std::vector<Candidate>();
    return recipe_variants(context, *progress_->base);
  }

 private:
  ProgressPtr progress_;
};

/// How operators are ordered for falling back.
enum class Order : uint8_t { kFromTheBottom, kOutputError, kHessian, kImpact };

Result<std::vector<std::string>> ordered_ops(TuningContext& context, const Progress& progress,
                                             Order order) {
  std::vector<std::string> names;
  for (const TunableOp& op : context.ops) names.push_back(op.name);
  std::ranges::reverse(names);
  if (order == Order::kFromTheBottom) return names;
  std::map<std::string, double> score = progress.impact;
  if (order != Order::kImpact) {
    const bool hessian = order == Order::kHessian;
    OCTAVO_ASSIGN(const std::vector<double> found,
                  context.remember(hessian ? "hessian_trace" : "output_error", [&] {
                    return hessian ? hessian_traces(context)
                                   : output_errors(context, *progress.base);
                  }));
    score.clear();
    for (size_t i = 0; i < found.size() && i < context.ops.size(); ++i) {
      score[context.ops[i].name] = found[i];
    }
  }
  std::ranges::stable_sort(names, std::greater<>(),
                           [&](const std::string& name) { return score[name]; });
  return names;
}

/// Operators fall back in an order.
class OrderedPhase : public ListPhase {
 public:
  OrderedPhase(ProgressPtr progress, Order order) : progress_(std::move(progress)), order_(order) {}

  Result<std::vector<Candidate>> make(TuningContext& context) override {
    std::vector<Candidate> list;
    if (!progress_->base) return list;
    OCTAVO_ASSIGN(const auto names, ordered_ops(context, *progress_, order_));
    for (const std::string& dtype : context.config.fallback_dtypes) {
      for (size_t at = 0; at < names.size(); ++at) list.push_back(candidate(names, at, dtype));
    }
    return list;
  }

 protected:
  /// The one in which the operator at `at` comes to its turn.
  virtual Candidate candidate(std::span<const std::string> names, size_t at,
                              const std::string& dtype) = 0;
  ProgressPtr progress_;

 private:
  Order order_;
};

/// Each operator alone; what it wins is remembered.
class OneByOnePhase : public OrderedPhase {
 public:
  using OrderedPhase::OrderedPhase;

  void report(TuningContext& context, const TrialRecord& record) override {
    const std::string& op = ops_[reported_++];
    if (!record.ok()) return;
    const double won = gain(context, record.accuracy, progress_->base_record.accuracy);
    const auto [at, is_new] = progress_->impact.emplace(op, won);
    if (!is_new) at->second = std::max(at->second, won);
  }

 private:
  Candidate candidate(std::span<const std::string> names, size_t at,
                      const std::string& dtype) override {
    ops_.push_back(names[at]);
    return {with_fallback(*progress_->base, names.subspan(at, 1), dtype), "op by op",
            concat(names[at], " in ", dtype)};
  }

  std::vector<std::string> ops_;
  size_t reported_ = 0;
};

/// More and more operators at once.
class AccumulatedPhase : public OrderedPhase {
 public:
  using OrderedPhase::OrderedPhase;

 private:
  Candidate candidate(std::span<const std::string> names, size_t at,
                      const std::string& dtype) override {
    return {with_fallback(*progress_->base, names.first(at + 1), dtype), "accumulated",
            at == 0 ? concat(names[0], " in ", dtype)
                    : concat(at + 1, " operators in ", dtype, ", the last of them ", names[at])};
  }
};

/// Transformer blocks, from the bottom, more and more of them: the operators up to each attention
/// (a Softmax whose result a MatMul reads) form one.
class BlockPhase : public ListPhase {
 public:
  explicit BlockPhase(ProgressPtr progress) : progress_(std::move(progress)) {}

  Result<std::vector<Candidate>> make(TuningContext& context) override {
    std::vector<Candidate> list;
    if (!progress_->base) return list;
    std::vector<std::vector<std::string>> blocks(1);
    const Graph& graph = context.model.graph();
    for (const Node& node : graph.nodes) {
      if (std::ranges::contains(context.ops, node.name, &TunableOp::name)) {
        blocks.back().push_back(node.name);
      }
      if (node.kind == OpKind::kSoftmax && feeds_matmul(graph, node)) blocks.emplace_back();
    }
    if (blocks.size() < 3) return list;  // no transformer
    for (const std::string& dtype : context.config.fallback_dtypes) {
      std::vector<std::string> ops;
      size_t count = 0;
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        if (block->empty()) continue;
        ops.insert(ops.end(), block->begin(), block->end());
        list.push_back({with_fallback(*progress_->base, ops, dtype), "blocks",
                        concat("the last ", ++count, " transformer blocks in ", dtype)});
      }
    }
    return list;
  }

 private:
  static bool feeds_matmul(const Graph& graph, const Node& softmax) {
    return std::ranges::any_of(graph.nodes, [&](const Node& node) {
      return node.kind == OpKind::kMatMul && std::ranges::contains(node.inputs, softmax.output(0));
    });
  }
  ProgressPtr progress_;
};

/// One operator type after another is quantized and stays so if the accuracy holds.
class Conservative : public Strategy {
 public:
  Result<std::optional<Candidate>> next(TuningContext& context) override {
    if (!begun_) begin(context);
    if (at_ == groups_.size()) return std::nullopt;
    std::vector<std::string> types = kept_;
    types.insert(types.end(), groups_[at_].begin(), groups_[at_].end());
    Recipe recipe = default_recipe(context.config);
    for (QuantConfig& stage : recipe.stages) {
      std::visit([&](auto& config) { restrict_to(config.white_list, types); }, stage);
    }
    std::string list;
    for (const std::string& type : types) {
      if (std::ranges::contains(others_, type)) continue;
      list += concat(list.empty() ? "" : ", ", type);
    }
    return Candidate{std::move(recipe), "conservative", concat("only ", list, " quantized")};
  }
  void report(TuningContext&, const TrialRecord& record) override {
    if (record.ok() && record.holds) {
      kept_.insert(kept_.end(), groups_[at_].begin(), groups_[at_].end());
    }
    ++at_;
  }
  bool runs_to_its_end() const override { return true; }

 private:
  void begin(const TuningContext& context) {
    begun_ = true;
    static const std::vector<std::vector<std::string>> kOrder = {
        {"Conv", "ConvTranspose"}, {"MatMul"}, {"Gemm"}};
    std::vector<std::string> computing;
    for (const TunableOp& op : context.ops) {
      if (op.computes && !std::ranges::contains(computing, op.type)) computing.push_back(op.type);
    }
    // What does not compute follows its neighbours.
    for (const Node& node : context.model.graph().nodes) {
      const std::string type(op_name(node.kind));
      if (std::ranges::contains(computing, type) || std::ranges::contains(others_, type)) continue;
      others_.push_back(type);
    }
    kept_ = others_;
    for (const std::vector<std::string>& group : kOrder) {
      std::vector<std::string> present;
      for (const std::string& type : group) {
        if (std::erase(computing, type) > 0) present.push_back(type);
      }
      if (!present.empty()) groups_.push_back(std::move(present));
    }
    for (const std::string& type : computing) groups_.push_back({type});
  }
  static void restrict_to(std::vector<std::string>& white_list,
                          const std::vector<std::string>& types) {
    if (white_list == std::vector<std::string>{"*"}) {
      white_list = types;
    } else {
      std::erase_if(white_list, [&](const std::string& entry) {
        return find_op("", entry) != nullptr && !std::ranges::contains(types, entry);
      });
    }
  }

  bool begun_ = false;
  size_t at_ = 0;
  std::vector<std::vector<std::string>> groups_;
  std::vector<std::string> kept_, others_;
};

/// The operator whose fallback brings the outputs nearest falls back, until the accuracy holds;
/// then those that matter least are quantized again while it still holds.
class MseV2Phase : public Strategy {
 public:
  explicit MseV2Phase(ProgressPtr progress) : progress_(std::move(progress)) {}

  Result<std::optional<Candidate>> next(TuningContext& context) override {
    if (!progress_->base) return std::nullopt;
    const std::string& dtype = context.config.fallback_dtypes.back();
    const bool add = !has_held_;
    const std::string key = concat("model_error ", add ? "+" : "-", step_++, " ", dtype);
    OCTAVO_ASSIGN(const std::vector<double> errors, context.remember(key, [&] {
      return model_errors(context, *progress_->base, fallen_, dtype, add);
    }));
    size_t best = context.ops.size();
    for (size_t i = 0; i < errors.size() && i < context.ops.size(); ++i) {
      if (std::isnan(errors[i]) || std::ranges::contains(tried_, context.ops[i].name)) continue;
      if (best == context.ops.size() || errors[i] < errors[best]) best = i;
    }
    if (best == context.ops.size()) return std::nullopt;
    op_ = context.ops[best].name;
    std::vector<std::string> ops = fallen_;
    if (add) {
      ops.push_back(op_);
    } else {
      std::erase(ops, op_);
    }
    return Candidate{with_fallback(*progress_->base, ops, dtype),
                     add ? "fall back" : "quantize again",
                     concat(op_, add ? concat(" in ", dtype, " too, ") : " quantized again, ",
                            ops.size(), " operators in ", dtype)};
  }
  void report(TuningContext&, const TrialRecord& record) override {
    const bool holds = record.ok() && record.holds;
    if (!has_held_) {
      fallen_.push_back(op_);
      has_held_ = holds;
    } else if (holds) {
      std::erase(fallen_, op_);
    } else {
      tried_.push_back(op_);
    }
  }
  bool runs_to_its_end() const override { return true; }

 private:
  ProgressPtr progress_;
  bool has_held_ = false;
  int step_ = 0;
  std::string op_;
  std::vector<std::string> fallen_, tried_;
};

class Phases : public Strategy {
 public:
  explicit Phases(std::vector<std::unique_ptr<Strategy>> list) : list_(std::move(list)) {}
  Result<std::optional<Candidate>> next(TuningContext& context) override {
    for (; at_ < list_.size(); ++at_) {
      if (held_ && context.config.stop_at_first) return std::nullopt;
      OCTAVO_ASSIGN(auto candidate, list_[at_]->next(context));
      if (candidate) return candidate;
      held_ = held_ || held_in_phase_;
      held_in_phase_ = false;
    }
    return std::nullopt;
  }
  void report(TuningContext& context, const TrialRecord& record) override {
    held_in_phase_ = held_in_phase_ || (record.ok() && record.holds);
    list_[at_]->report(context, record);
  }
  bool runs_to_its_end() const override {
    return at_ < list_.size() && list_[at_]->runs_to_its_end();
  }

 private:
  std::vector<std::unique_ptr<Strategy>> list_;
  size_t at_ = 0;
  bool held_ = false, held_in_phase_ = false;
};

template <class... Parts>
std::unique_ptr<Strategy> phases(Parts... parts) {
  std::vector<std::unique_ptr<Strategy>> list;
  (list.push_back(std::move(parts)), ...);
  return std::make_unique<Phases>(std::move(list));
}

constexpr size_t kAll = 100000;

}  // namespace

std::unique_ptr<Strategy> make_conservative() { return std::make_unique<Conservative>(); }

std::unique_ptr<Strategy> make_config_set() {
  return std::make_unique<TypeWisePhase>(std::make_shared<Progress>(), 0, kAll);
}

std::unique_ptr<Strategy> make_default() {
  return std::make_unique<TypeWisePhase>(std::make_shared<Progress>(), 0, 1);
}

std::unique_ptr<Strategy> make_basic() {
  const auto progress = std::make_shared<Progress>();
  return phases(std::make_unique<TypeWisePhase>(progress, 0, 1),
                std::make_unique<TypeWisePhase>(progress, 1, kAll),
                std::make_unique<VariantsPhase>(progress), std::make_unique<BlockPhase>(progress),
                std::make_unique<OneByOnePhase>(progress, Order::kFromTheBottom),
                std::make_unique<AccumulatedPhase>(progress, Order::kImpact));
}

std::unique_ptr<Strategy> make_mse() {
  const auto progress = std::make_shared<Progress>();
  return phases(std::make_unique<TypeWisePhase>(progress, 0, kAll),
                std::make_unique<OneByOnePhase>(progress, Order::kOutputError),
                std::make_unique<AccumulatedPhase>(progress, Order::kImpact));
}

std::unique_ptr<Strategy> make_mse_v2() {
  const auto progress = std::make_shared<Progress>();
  return phases(std::make_unique<TypeWisePhase>(progress, 0, 2),
                std::make_unique<MseV2Phase>(progress));
}

std::unique_ptr<Strategy> make_hawq_v2() {
  const auto progress = std::make_shared<Progress>();
  return phases(std::make_unique<TypeWisePhase>(progress, 0, 1),
                std::make_unique<AccumulatedPhase>(progress, Order::kHessian));
}

std::unique_ptr<Strategy> make_strategy(const TuningConfig& config) {
  const auto seed = static_cast<uint64_t>(config.seed);
  if (config.strategy == "basic") return make_basic();
  if (config.strategy == "conservative") return make_conservative();
  if (config.strategy == "mse") return make_mse();
  if (config.strategy == "mse_v2") return make_mse_v2();
  if (config.strategy == "hawq_v2") return make_hawq_v2();
  if (config.strategy == "exhaustive") return make_search(SearchKind::kExhaustive, seed);
  if (config.strategy == "random") return make_search(SearchKind::kRandom, seed);
  if (config.strategy == "tpe") return make_search(SearchKind::kTpe, seed);
  if (config.strategy == "bayesian") return make_search(SearchKind::kBayesian, seed);
  // auto: Neural Compressor 3.x's way if there are recipes to try, else that of 2.x.
  if (!config.config_set.empty()) return make_config_set();
  return phases(make_default(), std::make_unique<CalibrationPhase>(), make_conservative(),
                make_basic());
}

}  // namespace octavo
