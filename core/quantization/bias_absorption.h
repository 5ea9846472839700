// Absorption of high biases (Nagel et al. 2019, "Data-free quantization", 4.1.3). Where a channel
// lies well above zero nearly always, relu(x - c) = relu(x) - c: a constant c is taken from the
// bias of the layer that computes it and, times the weights that read it, given to the biases of
// the layers behind. The activation's range shrinks, and the network stays the same.
//
//   c = max(0, min(mean - deviations * standard deviation, smallest value seen))
//
// The paper has no data and so no smallest value.
#pragma once

#include "core/quantization/channel_stats.h"

namespace octavo {

/// For convolutions behind which only convolutions without padding read, all with biases. Changes
/// those; renames the values, which are not comparable with the float model's any more, and shifts
/// `stats`.
Status absorb_biases(Graph& graph, const Annotation& annotation, double deviations,
                     ChannelStats& stats);

}  // namespace octavo
