// MatMulNBits of com.microsoft: a matrix product with packed weights of few bits,
//
//   inputs      A, B, scales, zero_points, g_idx, bias; the last three are optional
//   attributes  K (inputs), N (outputs), bits, block_size (a power of two, at least 16)
//   B           uint8 [N, blocks, block_size * bits / 8], of each output blocks along K, the first
//               weight in the lowest bits; past K padding
//   scales      [N, blocks]
//   zero_points uint8 [N, ceil(blocks * bits / 8)], packed alike; absent: 2^(bits - 1)
//
// In graphs it is a MatMul (or Gemm) behind a blocked DequantizeLinear whose field `form` says how
// to write the two.
#pragma once

#include "core/onnx/normalize.h"

namespace octavo::onnx_io {

/// The value of `form`.
inline constexpr const char* kMatMulNBits = "MatMulNBits";
/// Attribute of a node in export that names the operator of com.microsoft which it is written as.
inline constexpr const char* kMicrosoftOp = "com.microsoft";

/// Turns matrix products behind DequantizeLinear nodes of that form (with parameters as inputs)
/// into nodes with MatMulNBits' inputs and attributes. Those that cannot be written so (groups that
/// no block of 16 divides, weights that something else reads too) stay as they are.
Status form_matmul_nbits(Graph& graph);

/// The rewrite of an imported MatMulNBits.
Status read_matmul_nbits(Rewrite& rewrite);

}  // namespace octavo::onnx_io
