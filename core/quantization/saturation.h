// Sums that saturate on x86 processors without VNNI. Their integer kernels multiply unsigned
// activations by signed weights with vpmaddubsw, which adds two neighbouring products in int16 and
// saturates (Intel 64 and IA-32 Architectures Software Developer's Manual, PMADDUBSW):
//
//   SaturateToSignedWord(x[2j] * w[2j] + x[2j + 1] * w[2j + 1])
//
// Which weights are neighbours is the kernel's choice, so any two of an output channel count. With
// q[i] the largest integer that input channel i took in the calibration (of int8 activations
// counted from -128, as kernels do), and t[i] = q[i] * w[i] over all weights of the channel, it can
// saturate if
//
//   the two largest t sum to more than 32767, or the two smallest to less than -32768.
//
// Weights of 7 bits (at most 64) never do: 2 * 255 * 64 = 32640.
#pragma once

#include <span>
#include <vector>

#include "core/quantization/params.h"

namespace octavo {

/// By output channel (along `axis` of the int8 weights): how many times as large its largest sum
/// can get as int16 holds; more than 1: it can saturate. `most[i]`: q of input channel i, where
/// weights are [outputs, inputs / groups, ...]; one element: q of all.
std::vector<double> saturation(const Tensor& weights, int axis, std::span<const int> most);

/// The largest integer that values up to `max` become, counted from the type's lowest.
int largest_integer(float max, const TensorQuant& quant);

}  // namespace octavo
