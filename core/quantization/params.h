// Scales and zero points from ranges. All formulas are in double and rounded once.
//
//   asymmetric          lo = min(min, 0), hi = max(max, 0), scale = (hi - lo) / 255,
//                       zero_point = round(qmin - lo / scale)
//   symmetric weights   scale = max|x| / 127 (without narrow_range: 127.5; with reduce_range: 64);
//                       int8: zero_point 0, uint8: zero_point 128
//   symmetric           never negative: uint8, zero_point 0, scale = max / 255
//   activations         otherwise: scale = max|x| / 127, uint8 with zero_point 128. That is the
//                       grid of symmetric int8; storing it as uint8 gives all activations of a
//                       model one type, which integer kernels ask for. The model's inputs, whose
//                       zero means nothing in particular (pixels, spectra), are asymmetric.
//                       int16: scale = max|x| / 32767 and zero_point 0, whatever the sign: what
//                       TFLite calls 16x8.
//
// These are for 8 bits; 4 and 16 bits have 15 and 65535 in the place of 255, 7 and 32767 in that
// of 127, and so on.
#pragma once

#include <vector>

#include "core/calibration/collector.h"
#include "core/config/static_quant_config.h"
#include "runtime/quant.h"

namespace octavo {

/// The smallest scale ever chosen: products of two scales stay normal floats.
inline constexpr float kMinScale = 1e-12f;

struct ScaleZero {
  float scale = 1;
  int32_t zero_point = 0;
};

/// The type that an option names ("uint16": kU16), kUndefined if it names no integers; and back.
DType integer_type(std::string_view option);
std::string integer_name(DType dtype);

/// Any finite range; zero is always exactly representable. `dtype`: integers of 4, 8 or 16 bits.
/// `reduced`: to one bit less, of 8 bits -64 to 64 or 0 to 127.
ScaleZero asymmetric_scale(const Range& range, DType dtype, bool reduced = false);

struct TensorQuant {
  DType dtype = DType::kUndefined;
  QuantParams params;
};

/// The range of an activation under act_algorithm. `is_input`: of a graph input.
Result<Range> activation_range(const Collector& collector, bool is_input,
                               const StaticQuantConfig& config);

/// Per-tensor parameters of an activation under act_dtype and act_sym. A zero range gives scale 1.
/// `is_input`: of a graph input.
TensorQuant activation_params(const Range& range, bool is_input, const StaticQuantConfig& config);

/// Parameters of a range that mathematics fixes: [0, 256 s) or [-128 s, 128 s). In 16 or 4 bits
/// the steps are as much smaller or larger; symmetric int16 reaches from -256 s or -128 s up, as in
/// TFLite.
TensorQuant fixed_params(float scale, bool is_signed, const StaticQuantConfig& config);

/// Weights' parameters under weight_dtype, weight_sym and weight_granularity. `axis`: the output
/// channel axis, in [0, rank); per tensor if the tensor has fewer than two axes.
/// Error kInvalidModel if a weight is NaN or infinite.
Result<TensorQuant> weight_params(const Tensor& weights, int axis, const StaticQuantConfig& config);

/// Raises weight scales where the int32 bias round(bias[c] / (input_scale * weight_scale[c])) would
/// not fit. Channel c of the bias goes with scale c % scales (grouped transposed convolution).
void fit_bias(std::span<const float> bias, float input_scale, QuantParams& weights);

/// The bias on the grid of int32 accumulators, input_scale * weight scale, on which other runtimes
/// put it when they load the file. It stays float: half the bytes of int32 with its own scales.
Result<Tensor> round_bias(const Tensor& bias, float input_scale, const QuantParams& weights);

/// Quantizes an f32 tensor. `quant.dtype`: integers of at most 32 bits.
Result<Tensor> quantize_tensor(const Tensor& real, const TensorQuant& quant);

}  // namespace octavo
