// Equalizes the channels of activations. One scale serves a whole tensor, so that channels with
// small ranges get few of its 256 steps. Channel c is multiplied by s[c] where it is computed
// (weights and bias of convolutions) and by 1 / s[c] where it is read (weights), which leaves the
// float network as it is and lets every channel use more of the tensor's range. Tensors that are
// added share s. Only with one weight scale per output channel, where it costs little:
//
//   before a depthwise convolution    nothing: both sides' weight scales take the factor
//   before any other convolution      its weights' columns differ more; worth it for tensors
//   without
//                                     activation (linear bottlenecks), not behind a Relu
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
