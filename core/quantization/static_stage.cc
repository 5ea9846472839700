// Static quantization as a stage: ranges in one pass over the data, then the rewrite.
#include "core/calibration/data_lint.h"
#include "core/quantization/equalize.h"
#include "core/quantization/stage.h"
#include "core/quantization/static_quant.h"

namespace octavo {
namespace {

Status check_available(const StaticQuantConfig& config) {
  const auto uses = [&](std::string_view dtype) {
    const auto in = [&](const StaticQuantConfig& c) {
      return c.act_dtype == dtype || c.weight_dtype == dtype;
    };
    return in(config) ||
           std::ranges::any_of(config.local, [&](const auto& entry) { return in(entry.config); });
  };
  if (uses("bf16")) {
    return fail(ErrorCode::kUnavailable,
                "bf16 is not available in this version; use int8, uint8 or fp32");
  }
  return {};
}

class StaticStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input,
                                               const StaticQuantConfig& config) {
    OCTAVO_TRY(check_available(config));
    auto stage = std::make_unique<StaticStage>();
    stage->graph_ = input.graph;
    stage->config_ = config;
    OCTAVO_ASSIGN(stage->annotation_, annotate(*input.graph, stage->config_));
    std::vector<WantedValue> wanted = wanted_values(*input.graph, stage->annotation_);
    want_channel_ranges(*input.graph, stage->annotation_, wanted);
    OCTAVO_ASSIGN(stage->calibrator_, Calibrator::create(input.graph, wanted, input.pool));
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
    return rewrite_static(equalized, annotation_, calibration, report);
  }

 private:
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
