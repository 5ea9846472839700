// Quantizes graphs made in tests, and says how far the result is from the float model.
#pragma once

#include "tests/random_loader.h"

namespace octavo {

inline Result<QuantizedModel> quantize(const Graph& graph, const Recipe& recipe = {},
                                       int samples = 8) {
  const Model model(std::make_shared<const Graph>(graph));
  RandomLoader data(graph, samples);
  return quantize_model(model, recipe, &data);
}

inline QuantizedModel quantized(const Graph& graph, const Recipe& recipe = {}, int samples = 8) {
  auto result = quantize(graph, recipe, samples);
  EXPECT_TRUE(result) << result.error().to_string();
  return result ? *std::move(result) : QuantizedModel();
}

/// "quantized", or why the node is not.
inline std::string reason(const QuantizedModel& result, const std::string& node) {
  for (const NodeReport& report : result.report.nodes) {
    if (report.name == node) return report.quantized ? "quantized" : report.reason;
  }
  return "no such node";
}

/// Signal to noise of output 0 against the float model, in dB, on data not used for calibration.
inline double sqnr(const Graph& graph, const Model& other) {
  const Model model(std::make_shared<const Graph>(graph));
  RandomLoader data(graph, 16);
  const auto comparison = compare(model, other, data);
  EXPECT_TRUE(comparison) << comparison.error().to_string();
  return comparison ? comparison->outputs[0].sqnr_db : 0;
}
inline double sqnr(const Graph& graph, const QuantizedModel& result) {
  return sqnr(graph, result.model);
}

}  // namespace octavo
