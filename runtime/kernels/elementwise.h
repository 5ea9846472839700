// The vector loops of elementwise operators, dispatched to the SIMD target in use.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/op_kind.h"

namespace octavo::kernels {

/// Elements of one operand along a row: `stride` 1, or 0 for one element throughout.
struct RowOperand {
  const void* data;
  int64_t stride;
};

/// y[i] = op(a[i], b[i]) for Add, Sub, Mul, Div, Max, Min, PRelu on f32. `y` may be `a` or `b`.
void binary_f32(OpKind op, RowOperand a, RowOperand b, float* y, int64_t count);

/// Scales and zero points of an integer operator on 8-bit values (i8 or u8 each).
struct BinaryInt8 {
  float scale_a, scale_b, scale_y;
  int32_t zero_a, zero_b, zero_y;
  bool signed_a, signed_b, signed_y;
};
/// y = quantize(op(dequantize(a), dequantize(b))), in float32 and in this order, for Add, Sub, Mul,
/// Div, Max, Min.
void binary_int8(OpKind op, const BinaryInt8& params, RowOperand a, RowOperand b, void* y,
                 int64_t count);

/// The formulas of runtime/quant.h. `dtype`: i8, u8, i16 or u16.
void quantize_row(const float* x, float scale, int32_t zero_point, DType dtype, void* y,
                  int64_t count);
void dequantize_row(const void* x, float scale, int32_t zero_point, DType dtype, float* y,
                    int64_t count);

/// y[i] = table[x[i]]; 256 entries. `y` may be `x`.
void lookup_row(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count);

/// y = f(x) for f32; what `op` needs of its attributes in a and b (Clip: bounds). `y` may be `x`.
void unary_f32(OpKind op, float a, float b, const float* x, float* y, int64_t count);

/// y = f(x), or x * f(x), as the end of a kernel.
struct UnaryFunction {
  OpKind op;
  float a = 0, b = 0;  // as of unary_f32()
  bool times_x = false;
};
/// x[i] becomes y, for f32.
void apply_f32(const UnaryFunction& function, float* x, int64_t count);

}  // namespace octavo::kernels
