// One step of learned rounding (core/quantization/adaround.h) for a run of weights. Multiplications
// and additions alone: the same on every target.
#pragma once

#include <cstddef>

namespace octavo::kernels {

/// error[i] = (clamp(floor(position[i]) + h) - position[i]) * step[i] with h = clip(1.2 s - 0.1, 0,
/// 1) and s = sigmoid(v[i]), which is kept in `share`.
void rounding_errors(const float* position, const float* step, const float* v, float low,
                     float high, size_t count, float* share, float* error);

struct RoundingStep {
  float factor;                 // of product * step: the gradient by h
  float reg, beta;              // the regularizer reg * (1 - |2h - 1|^beta); beta 0: none
  float lr;                     // Adam's
  float unbias, square_unbias;  // 1 / (1 - decay^steps)
};
inline constexpr float kRoundingStretch = 1.2f, kRoundingShift = -0.1f;
inline constexpr float kAdamDecay = 0.9f, kAdamSquareDecay = 0.999f;

/// Moves v by Adam. `share`: of rounding_errors.
void rounding_step(const RoundingStep& how, const float* product, const float* step,
                   const float* share, size_t count, float* v, float* mean, float* square);

}  // namespace octavo::kernels
