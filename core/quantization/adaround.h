// AdaRound (Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization"):
// learns for each weight of a layer whether it is rounded up or down, such that the layer's output
// stays near the float one's over the calibration data.
//
// A weight becomes step * (floor(w / step) + h(V) - zero point) with h(V) = clip(1.2 sigmoid(V) -
// 0.1, 0, 1), and Adam makes
//
//   n * e^T M e / (sum of step^2 M_ii) + reg * sum of (1 - |2 h(V) - 1|^beta)
//
// small, of each output's n weights, with e their errors and M the second moments of the layer's
// inputs. The paper's mean over samples of |W x - W~ x|^2 is e^T M e: all samples count in every
// step, so that fewer steps do and nothing is random. The divisor makes `reg` mean the same in
// every layer: as much as a weight that is off by a step. Off its diagonal M is multiplied by rows
// / (rows + n): the fewer rows, the less do they say what goes together. beta falls from beta_start
// to beta_end, after `warm_up` of the steps without the regularizer.
#pragma once

#include <functional>
#include <vector>

#include "core/quantization/moments.h"
#include "core/quantization/stage.h"

namespace octavo {

struct AdaRoundOptions {
  int64_t iters = 0;
  double lr = 0, reg = 0, beta_start = 0, beta_end = 0, warm_up = 0;
};

/// Those of a config with RoundingOptions.
template <class C>
AdaRoundOptions adaround_options(const C& config) {
  return {config.rounding_iters,      config.rounding_lr,       config.rounding_reg,
          config.rounding_beta_start, config.rounding_beta_end, config.rounding_warm_up};
}

/// A layer's weights on their grid: rows x columns, a row for each output; rows of a grouped
/// convolution's groups follow each other.
struct RoundingProblem {
  size_t rows = 0, columns = 0;
  std::vector<float> position;  // weight / step + zero point
  std::vector<float> step;      // scale of each weight
  int low = 0, high = 0;        // ends of the grid
};

/// The grid's integers. Rows that would not come nearer than by rounding to nearest are rounded to
/// nearest. `centred`: errors of an output's mean do not count; the bias takes them.
/// `work`: each of options.iters. Errors: kInternal if problem and moments do not fit, kCancelled.
Result<std::vector<int>> adaround(const RoundingProblem& problem, const Moments& moments,
                                  bool centred, const AdaRoundOptions& options,
                                  const SessionOptions& session, Work* work = nullptr);

}  // namespace octavo
