// Equalization: channel c of an activation is multiplied by s[c] where it is computed and by 1 /
// s[c] where it is read, which leaves the float network as it is
// (core/quantization/channel_groups.h).
//
// "cross_layer", for weights with one scale per tensor: channels whose weights are small on one
// side and large on the other meet in the middle (core/quantization/cross_layer.cc). A Clip(0, hi)
// between the layers gets the bound of the scaled channel that reaches farthest.
//
// "channels", for weights with one scale per output channel: one scale serves a
// whole activation, so that channels with small ranges get few of its 256 steps. Scaled up, every
// channel uses more of the tensor's range. It costs little
//
//   before a depthwise convolution    nothing: both sides' weight scales take the factor
//   before any other convolution      its weights' columns differ more; worth it for tensors
//                                     without activation (linear bottlenecks), not behind a Relu
#pragma once

#include "core/calibration/calibrate.h"
#include "core/quantization/annotate.h"
#include "core/quantization/channel_stats.h"
#include "core/quantization/weight_rounding.h"

namespace octavo {

/// Cross-layer equalization. Scales constants in place: no id changes. Scales `stats`, which were
/// taken on the graph, with it.
Status equalize_layers(Graph& graph, const Annotation& annotation, ChannelStats& stats);

/// Asks for channel ranges of the values that can be equalized.
void want_channel_ranges(const Graph& graph, const Annotation& annotation,
                         std::vector<WantedValue>& wanted);

/// Scales constants in place: no id changes, and the ranges of whole tensors stay as calibrated.
/// Equalized values are not comparable with the float model's and get new names. Scales `stats` and
/// what `rounder` has seen.
Status equalize_channels(Graph& graph, const Annotation& annotation, const Calibration& calibration,
                         ChannelStats& stats, WeightRounder& rounder);

}  // namespace octavo
