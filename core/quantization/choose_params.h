// The integers of activations: what calibration must collect for them, and what follows from it.
#pragma once

#include "core/calibration/calibrate.h"
#include "core/quantization/annotate.h"
#include "core/quantization/params.h"

namespace octavo {

/// What must be collected of each value (by ValueId).
std::vector<WantedValue> wanted_values(const Graph& graph, const Annotation& annotation);

/// Concats whose inputs' ranges differ by more than max_concat_ratio, and what reads them: one
/// scale for both would leave the smaller next to no integers.
Result<std::vector<KeptFloat>> mixed_range_concats(const Graph& graph, const Annotation& annotation,
                                                   const Calibration& calibration);

/// Parameters of every value that is quantized (by ValueId), else of dtype kUndefined.
Result<std::vector<TensorQuant>> choose_params(const Graph& graph, const Annotation& annotation,
                                               const Calibration& calibration);

}  // namespace octavo
