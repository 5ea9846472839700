// Bias correction. Rounded weights shift the mean of what a layer computes; over the calibration
// data the shift of output channel o is known,
//
//   shift[o] = sum over inputs i and kernel positions k of (W_quantized - W)[o, i, k] * mean[i] *
//              coverage[k],
//
// and is taken from the bias. mean[i] is that of the layer's input channel in the float model, and
// coverage[k] the share of output positions at which kernel position k does not lie on padding.
#pragma once

#include "core/quantization/channel_stats.h"

namespace octavo {

/// shift[o] of a node whose weights have become `quantized` (real numbers, of the same shape).
/// Empty if the means are not known.
std::vector<double> output_shift(const Graph& graph, const Node& node, const Tensor& weights,
                                 const Tensor& quantized, const ChannelStats& stats);

}  // namespace octavo
