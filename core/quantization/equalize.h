// Equalizes the channels of a tensor between a convolution and a depthwise one. One activation
// scale serves a whole tensor, so that channels with small ranges get few of its 256 steps. Channel
// c is multiplied by a power of two s[c] where it is computed (weights and bias) and by 1 / s[c]
// where it is read (weights), which leaves the float network exactly as it is and gives every
// channel at least half of the steps. With a weight scale per output channel it costs the weights
// nothing: both sides' scales take the factor.
#pragma once

#include "core/calibration/calibrate.h"
#include "core/quantization/annotate.h"

namespace octavo {

/// Asks for channel ranges of the values that can be equalized.
void want_channel_ranges(const Graph& graph, const Annotation& annotation,
                         std::vector<WantedValue>& wanted);

/// Scales constants in place: no id changes, and the ranges of whole tensors stay as calibrated.
/// Equalized values are not comparable with the float model's and get new names.
Status equalize_channels(Graph& graph, const Annotation& annotation,
                         const Calibration& calibration);

}  // namespace octavo
