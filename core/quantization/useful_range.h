// Which values of a tensor its readers can tell apart: a sigmoid does not change beyond 8, so that
// integers for what lies there would be wasted.
#pragma once

#include "core/calibration/collector.h"
#include "core/quantization/annotate.h"

namespace octavo {

/// The part of `range` whose values make a difference to those that read `value`. x * sigmoid(x)
/// needs no x below -8, HardSwish none below -3.
Range useful_range(const Graph& graph, ValueId value, const Range& range);

}  // namespace octavo
