// Post-training static quantization of a graph: annotate, calibrate, rewrite.
#pragma once

#include "core/calibration/calibrate.h"
#include "core/quantization/annotate.h"
#include "core/quantization/bias_correction.h"
#include "core/quantization/weight_rounding.h"

namespace octavo {

/// Gives values their integer types and parameters, quantizes constants, puts QuantizeLinear and
/// DequantizeLinear where precision changes, and fills `report.nodes` and `report.warnings`.
/// Graph inputs and outputs stay float. `stats`: biases are corrected with them; nullptr: not.
/// `channels`: overflow_fix looks at their ranges.
Result<Graph> rewrite_static(const Graph& graph, const Annotation& annotation,
                             const Calibration& calibration, const ChannelStats* stats,
                             const ChannelStats& channels, WeightRounder& rounder,
                             QuantizeReport& report);

}  // namespace octavo
