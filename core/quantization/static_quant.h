// Post-training static quantization of a graph: annotate, calibrate, rewrite.
#pragma once

#include "core/calibration/calibrate.h"
#include "core/quantization/annotate.h"

namespace octavo {

/// The act_algorithm with which each value (by ValueId) must be calibrated; empty: it need not be.
std::vector<std::string> wanted_values(const Graph& graph, const Annotation& annotation);

/// Gives values their integer types and parameters, quantizes constants, puts QuantizeLinear and
/// DequantizeLinear where precision changes, and fills `report.nodes` and `report.warnings`.
/// Graph inputs and outputs stay float.
Result<Graph> rewrite_static(const Graph& graph, const Annotation& annotation,
                             const Calibration& calibration, QuantizeReport& report);

}  // namespace octavo
