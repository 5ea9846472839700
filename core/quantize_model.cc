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

Result<QuantizedModel> quantize_model(const Model& model, const StaticQuantConfig& quant_config,
                                      DataLoader* calib_dataloader, int64_t calib_iteration,
                                      const CalibFunc& calib_func, const QuantizeOptions& options) {
  OCTAVO_TRY(quant_config.validate());
  OCTAVO_TRY(check_available(quant_config));
  if (model.shared_graph() == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "there is no model to quantize; load one first");
  }
  const Graph& graph = model.graph();
  OCTAVO_ASSIGN(const Annotation annotation, annotate(graph, quant_config));
  std::vector<WantedValue> wanted = wanted_values(graph, annotation);
  want_channel_ranges(graph, annotation, wanted);
  OCTAVO_ASSIGN(const Calibration calibration,
                calibrate(model.shared_graph(), wanted, calib_dataloader, calib_iteration,
                          calib_func, options));
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

}  // namespace octavo
