// Static quantization as a stage: ranges, and means for the correction of biases, in one pass over
// the data, then the rewrite. Cross-layer equalization wants a pass before that.
#include <algorithm>

#include "core/calibration/data_lint.h"
#include "core/passes/passes.h"
#include "core/quantization/bias_absorption.h"
#include "core/quantization/choose_params.h"
#include "core/quantization/equalize.h"
#include "core/quantization/mixed_precision.h"
#include "core/quantization/stage.h"
#include "core/quantization/stage_cache.h"
#include "core/quantization/static_quant.h"
#include "core/quantization/weight_rounding.h"

namespace octavo {
namespace {

bool is_bf16(const StaticQuantConfig& config) {
  return config.act_dtype == "bf16" || config.weight_dtype == "bf16";
}

// Whatever a recipe of static quantization may want of the graph's values.
struct Everything {
  std::vector<WantedValue> wanted;
  ChannelStats stats;
};
Result<Everything> everything_of(const Graph& graph, StaticQuantConfig config) {
  config.local.clear();
  config.white_list = {"*"};
  config.act_dtype = config.weight_dtype = "int8";
  config.weight_granularity = "per_channel";
  config.io_dtype = "fp32";
  config.integer_only = false;
  config.first_conv_or_matmul_quantization = config.last_conv_or_matmul_quantization = true;
  OCTAVO_ASSIGN(const Annotation annotation, annotate(graph, config));
  Everything all{wanted_values(graph, annotation), ChannelStats(graph, annotation)};
  for (WantedValue& value : all.wanted) value.options.histogram = true;
  want_channel_ranges(graph, annotation, all.wanted);
  return all;
}

void unite(const std::vector<WantedValue>& from, std::vector<WantedValue>& to) {
  for (size_t v = 0; v < from.size(); ++v) {
    if (!from[v].wanted) continue;
    to[v].wanted = true;
    to[v].options.histogram |= from[v].options.histogram;
    to[v].options.per_channel |= from[v].options.per_channel;
    to[v].options.outlier_prob = from[v].options.outlier_prob;
  }
}

class StaticStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input,
                                               const StaticQuantConfig& config) {
    auto stage = std::make_unique<StaticStage>();
    stage->input_ = input;
    stage->config_ = config;
    apply_scheme(stage->config_);
    stage->graph_ = input.graph;
    OCTAVO_ASSIGN(stage->annotation_, annotate(*input.graph, stage->config_));
    stage->equalizes_layers_ = stage->equalization() == "cross_layer" &&
                               ChannelStats(*stage->graph_, stage->annotation_).any();
    OCTAVO_TRY(std::ranges::any_of(stage->annotation_.nodes, &NodeAnnotation::quantized)
                   ? stage->begin_pass()
                   : stage->take_nothing());
    return stage;
  }

  int passes() const override {
    return calibrator_ == nullptr ? pass_ : pass_ + (equalizes_layers_ ? 2 : 1);
  }

  Status observe(const NamedTensors& feeds) override {
    const bool watches =
        stats_->any() && (equalizes_layers_ || caches() || corrects_biases() || fixes_overflow());
    std::vector<Observer*> also;
    if (watches) also.push_back(&*stats_);
    if (rounder_ && rounder_->any()) also.push_back(&rounder_->observer());
    OCTAVO_TRY(calibrator_->observe(feeds, also));
    if (pass_ == 0) lint_.observe(feeds);
    return {};
  }

  Status end_pass() override {
    if (pass_ == 0) warnings_ = lint_.warnings(*graph_);
    ++pass_;
    Collected made{calibrator_->take(), *std::move(stats_), warnings_};
    calibrator_.reset();
    if (caches()) {
      OCTAVO_TRY(input_.cache->store_collected(*graph_, input_.deterministic, made));
    }
    return take(std::move(made));
  }

  Result<Graph> finish(QuantizeReport& report) override {
    const Calibration& calibration = *collected_->calibration;
    report.samples = calibration.samples;
    report.warnings = warnings_;
    OCTAVO_ASSIGN(const std::vector<KeptFloat> kept,
                  mixed_range_concats(*graph_, annotation_, calibration));
    if (!kept.empty()) {
      OCTAVO_ASSIGN(annotation_, annotate(*graph_, config_, kept));
    }
    rounder_->begin(input_.progress);
    OCTAVO_ASSIGN(Graph graph, rewrite_static(*graph_, annotation_, calibration,
                                              corrects_biases() ? &collected_->stats : nullptr,
                                              collected_->stats, *rounder_, report));
    const bool any_bf16 = is_bf16(config_) || std::ranges::any_of(config_.local, [](const auto& e) {
                            return is_bf16(e.config);
                          });
    return any_bf16 ? convert_bf16(graph, report) : std::move(graph);
  }

 private:
  // The nodes whose options ask for bf16 instead of integers.
  Result<Graph> convert_bf16(const Graph& quantized, QuantizeReport& report) const {
    std::vector<MixedNode> nodes;
    for (const Node& node : quantized.nodes) {
      const OpDef& op = *find_op(node.kind);
      MixedNode& mixed = nodes.emplace_back(MixedNode{.policy = op.mixed.policy});
      if (config_.allows(node.name, op.name) && is_bf16(config_.resolve(node.name, op.name))) {
        mixed.dtype = DType::kBF16;
      } else {
        mixed.reason = "not asked for";
      }
    }
    OCTAVO_ASSIGN(Graph graph, convert_mixed(quantized, nodes));
    // What was not converted has static quantization's reason.
    for (MixedNode& mixed : nodes) mixed.reason.clear();
    report_mixed(quantized, nodes, report);
    OCTAVO_TRY(run_passes(graph, mixed_passes()));
    return graph;
  }

  bool caches() const { return input_.cache != nullptr; }

  // Begins a pass over the data, unless the cache knows what it would find.
  Status begin_pass() {
    std::vector<WantedValue> wanted(graph_->values.size());
    if (!equalizes_layers_) {
      wanted = wanted_values(*graph_, annotation_);
      if (equalization() == "channels") want_channel_ranges(*graph_, annotation_, wanted);
    }
    stats_.emplace(*graph_, annotation_);
    if (!equalizes_layers_) rounder_.emplace(*graph_, annotation_, input_.session_options());
    if (caches()) {
      OCTAVO_ASSIGN(const Collected* found,
                    input_.cache->find_collected(*graph_, input_.deterministic));
      if (found != nullptr && found->serves(wanted, *stats_) && !(rounder_ && rounder_->any())) {
        if (pass_ == 0) warnings_ = found->warnings;
        return take(*found);
      }
      OCTAVO_ASSIGN(Everything all, everything_of(*graph_, config_));
      unite(wanted, all.wanted);
      wanted = std::move(all.wanted);
      if (all.stats.serves(*stats_)) stats_ = std::move(all.stats);
    }
    OCTAVO_ASSIGN(calibrator_, Calibrator::create(graph_, wanted, input_.session_options()));
    return {};
  }

  // No operator is to be quantized: nothing is wanted of the data.
  Status take_nothing() {
    equalizes_layers_ = false;
    rounder_.emplace(*graph_, annotation_, input_.session_options());
    auto calibration = std::make_shared<Calibration>();
    calibration->collectors.resize(graph_->values.size());
    collected_ = Collected{std::move(calibration), ChannelStats(*graph_, annotation_), {}};
    return {};
  }

  // What a pass found decides on the factors of channels. Those of layers change the graph, so that
  // another pass is due.
  Status take(Collected found) {
    auto equalized = std::make_shared<Graph>(*graph_);
    if (equalizes_layers_) {
      equalizes_layers_ = false;
      OCTAVO_TRY(equalize_layers(*equalized, annotation_, found.stats));
      if (config_.bias_absorption) {
        OCTAVO_TRY(
            absorb_biases(*equalized, annotation_, config_.absorption_deviations, found.stats));
      }
      graph_ = std::move(equalized);
      return begin_pass();
    }
    if (equalization() == "channels") {
      OCTAVO_TRY(
          equalize_channels(*equalized, annotation_, *found.calibration, found.stats, *rounder_));
      graph_ = std::move(equalized);
    }
    collected_ = std::move(found);
    return {};
  }

  std::string_view equalization() const { return equalization_of(config_); }
  bool corrects_biases() const { return config_.bias_correction; }
  bool fixes_overflow() const {
    return config_.overflow_fix || std::ranges::any_of(config_.local, [](const auto& entry) {
             return entry.config.overflow_fix;
           });
  }

  StageInput input_;
  std::shared_ptr<const Graph> graph_;  // equalized, as far as it is by now
  StaticQuantConfig config_;
  Annotation annotation_;
  bool equalizes_layers_ = false;           // what the pass at work is for
  std::optional<ChannelStats> stats_;       // of the pass at work
  std::optional<WeightRounder> rounder_;    // by the last pass
  std::unique_ptr<Calibrator> calibrator_;  // of the pass at work
  std::optional<Collected> collected_;      // by the last pass
  DataLint lint_;
  std::vector<std::string> warnings_;  // about the data
  int pass_ = 0;                       // passes done
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const StaticQuantConfig& config) {
  return StaticStage::create(input, config);
}

}  // namespace octavo
