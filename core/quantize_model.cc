#include "core/octavo.h"
#include "core/quantization/equalize.h"
#include "core/quantization/static_quant.h"

namespace octavo {
namespace {

Status check_available(const StaticQuantConfig& config) {
  const auto uses = [&](std::string_view dtype) {
    const auto in = [&](const StaticQuantConfig& c) {
      return c.act_dtype == dtype || c.weight_dtype == dtype;
    };
    if (in(config)) return true;
    for (const auto& [name, local] : config.local) {
      if (in(local)) return true;
    }
    return false;
  };
  if (uses("bf16")) {
    return fail(ErrorCode::kUnavailable,
                "bf16 is not available in this version; use int8, uint8 or fp32");
  }
  return {};
}

}  // namespace

struct Quantizer::State {
  Model model;
  Annotation annotation;
  std::unique_ptr<Calibrator> calibrator;
};

Quantizer::Quantizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Quantizer::Quantizer(Quantizer&&) noexcept = default;
Quantizer& Quantizer::operator=(Quantizer&&) noexcept = default;
Quantizer::~Quantizer() = default;

Result<Quantizer> Quantizer::create(const Model& model, const StaticQuantConfig& quant_config,
                                    std::shared_ptr<ThreadPool> pool) {
  OCTAVO_TRY(quant_config.validate());
  OCTAVO_TRY(check_available(quant_config));
  if (model.shared_graph() == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "there is no model to quantize; load one first");
  }
  const Graph& graph = model.graph();
  auto state = std::make_unique<State>();
  state->model = model;
  OCTAVO_ASSIGN(state->annotation, annotate(graph, quant_config));
  std::vector<WantedValue> wanted = wanted_values(graph, state->annotation);
  want_channel_ranges(graph, state->annotation, wanted);
  OCTAVO_ASSIGN(state->calibrator,
                Calibrator::create(model.shared_graph(), wanted, std::move(pool)));
  return Quantizer(std::move(state));
}

Status Quantizer::observe(const NamedTensors& feeds) { return state_->calibrator->observe(feeds); }

Result<QuantizedModel> Quantizer::finish() const {
  const Graph& graph = state_->model.graph();
  const Annotation& annotation = state_->annotation;
  const Calibration& calibration = state_->calibrator->calibration();
  if (calibration.samples == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the calibration data is empty; at least one sample is needed");
  }
  Graph equalized = graph;
  OCTAVO_TRY(equalize_channels(equalized, annotation, calibration));
  QuantizedModel result;
  QuantizeReport& report = result.report;
  OCTAVO_ASSIGN(Graph quantized, rewrite_static(equalized, annotation, calibration, report));
  OCTAVO_TRY(validate(quantized));
  report.float_bytes = constant_bytes(graph);
  report.quantized_bytes = constant_bytes(quantized);
  report.samples = calibration.samples;
  if (std::ranges::none_of(report.nodes, &NodeReport::quantized)) {
    report.warnings.push_back("no operator was quantized; the model is still float");
  }
  result.model = Model(std::make_shared<const Graph>(std::move(quantized)));
  return result;
}

Result<QuantizedModel> quantize_model(const Model& model, const StaticQuantConfig& quant_config,
                                      DataLoader* calib_dataloader, int64_t calib_iteration,
                                      const CalibFunc& calib_func, const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Quantizer quantizer, Quantizer::create(model, quant_config, options.pool));
  OCTAVO_TRY(calibrate(*quantizer.state_->calibrator, calib_dataloader, calib_iteration, calib_func,
                       options));
  return quantizer.finish();
}

}  // namespace octavo
