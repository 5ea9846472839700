// Static quantization as a stage: ranges in one pass over the data, then the rewrite.
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
    stage->graph_ = input.graph;
    stage->config_ = config;
    apply_scheme(stage->config_);
    OCTAVO_ASSIGN(stage->annotation_, annotate(*input.graph, stage->config_));
    std::vector<WantedValue> wanted = wanted_values(*input.graph, stage->annotation_);
    want_channel_ranges(*input.graph, stage->annotation_, wanted);
    OCTAVO_ASSIGN(stage->calibrator_,
                  Calibrator::create(input.graph, wanted, input.session_options()));
    return stage;
  }

  int passes() const override { return 1; }
  Status observe(const NamedTensors& feeds) override {
    OCTAVO_TRY(calibrator_->observe(feeds));
    lint_.observe(feeds);
    return {};
  }
  Status end_pass() override { return {}; }

  Result<Graph> finish(QuantizeReport& report) override {
    const Calibration& calibration = calibrator_->calibration();
    Graph equalized = *graph_;
    OCTAVO_TRY(equalize_channels(equalized, annotation_, calibration));
    report.samples = calibration.samples;
    report.warnings = lint_.warnings(*graph_);
    OCTAVO_ASSIGN(Graph graph, rewrite_static(equalized, annotation_, calibration, report));
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

  std::shared_ptr<const Graph> graph_;
  StaticQuantConfig config_;
  Annotation annotation_;
  std::unique_ptr<Calibrator> calibrator_;
  DataLint lint_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const StaticQuantConfig& config) {
  return StaticStage::create(input, config);
}

}  // namespace octavo
