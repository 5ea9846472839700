// Static quantization as a stage: ranges, and means for the correction of biases, in one pass over
// the data, then the rewrite. Cross-layer equalization wants a pass before that.
#include <algorithm>

#include "core/calibration/data_lint.h"
#include "core/passes/passes.h"
#include "core/quantization/equalize.h"
#include "core/quantization/mixed_precision.h"
#include "core/quantization/stage.h"
#include "core/quantization/static_quant.h"

namespace octavo {
namespace {

bool is_bf16(const StaticQuantConfig& config) {
  return config.act_dtype == "bf16" || config.weight_dtype == "bf16";
}

class StaticStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input,
                                               const StaticQuantConfig& config) {
    auto stage = std::make_unique<StaticStage>();
    stage->config_ = config;
    apply_scheme(stage->config_);
    stage->session_options_ = input.session_options();
    stage->graph_ = input.graph;
    OCTAVO_ASSIGN(stage->annotation_, annotate(*input.graph, stage->config_));
    stage->stats_.emplace(*stage->graph_, stage->annotation_);
    if (stage->equalization() == "cross_layer" && stage->stats_->any()) {
      stage->passes_ = 2;
      OCTAVO_ASSIGN(stage->session_, Session::create(stage->graph_, stage->session_options_));
    } else {
      OCTAVO_TRY(stage->calibrate());
    }
    return stage;
  }

  int passes() const override { return passes_; }

  Status observe(const NamedTensors& feeds) override {
    if (calibrator_ != nullptr) {
      OCTAVO_TRY(calibrator_->observe(feeds, corrects_biases() ? &*stats_ : nullptr));
    } else {
      OCTAVO_TRY(observe_sample(*session_, feeds, samples_, *stats_));
    }
    stats_->add_feeds(*graph_, feeds);
    if (pass_ == 0) lint_.observe(feeds);
    ++samples_;
    return {};
  }

  Status end_pass() override {
    samples_ = 0;
    ++pass_;
    auto equalized = std::make_shared<Graph>(*graph_);
    if (calibrator_ == nullptr) {
      OCTAVO_TRY(equalize_layers(*equalized, annotation_, *stats_));
      graph_ = std::move(equalized);
      session_.reset();
      stats_.emplace(*graph_, annotation_);
      return calibrate();
    }
    if (equalization() == "channels") {
      OCTAVO_TRY(equalize_channels(*equalized, annotation_, calibrator_->calibration(), *stats_));
      graph_ = std::move(equalized);
    }
    return {};
  }

  Result<Graph> finish(QuantizeReport& report) override {
    const Calibration& calibration = calibrator_->calibration();
    report.samples = calibration.samples;
    report.warnings = lint_.warnings(*graph_);
    OCTAVO_ASSIGN(Graph graph, rewrite_static(*graph_, annotation_, calibration,
                                              corrects_biases() ? &*stats_ : nullptr, report));
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

  Status calibrate() {
    std::vector<WantedValue> wanted = wanted_values(*graph_, annotation_);
    if (equalization() == "channels") want_channel_ranges(*graph_, annotation_, wanted);
    OCTAVO_ASSIGN(calibrator_, Calibrator::create(graph_, wanted, session_options_));
    return {};
  }
  std::string_view equalization() const {
    if (config_.equalization != "auto") return config_.equalization;
    return config_.weight_granularity == "per_channel" ? "channels" : "cross_layer";
  }
  bool corrects_biases() const { return config_.bias_correction; }

  std::shared_ptr<const Graph> graph_;  // equalized, as far as it is by now
  StaticQuantConfig config_;
  SessionOptions session_options_;
  Annotation annotation_;
  std::optional<ChannelStats> stats_;
  std::optional<Session> session_;  // of the pass before calibration
  std::unique_ptr<Calibrator> calibrator_;
  DataLint lint_;
  int passes_ = 1, pass_ = 0;
  int64_t samples_ = 0;  // in this pass
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const StaticQuantConfig& config) {
  return StaticStage::create(input, config);
}

}  // namespace octavo
