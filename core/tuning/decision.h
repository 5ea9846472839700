// Which trial is best, which ones nothing beats, and why, in words.
#pragma once

#include "core/tuning/tuner.h"

namespace octavo {

/// (baseline - accuracy) / |baseline|, or the difference under criterion "absolute" and where the
/// baseline is 0; the other way round for lower-is-better.
double accuracy_loss(const TuningConfig& config, double baseline, double accuracy);

/// True if `a` is the better outcome: holding the accuracy first, then the weighted objective over
/// the baseline's figures (without holding: the accuracy), then accuracy, then size, then the
/// earlier one.
bool is_better(const TuningConfig& config, const TrialRecord& baseline, const TrialRecord& a,
               const TrialRecord& b);

/// Indices of the trials (0: the float model) that no other beats in accuracy, latency and size
/// without being worse in one of them.
std::vector<int64_t> pareto_front(const TuningConfig& config, const TrialRecord& baseline,
                                  const std::vector<TrialRecord>& trials);

std::string explain_decision(const TuningConfig& config, const TuningResult& result);
/// "accuracy 0.825, loss 0.60 % of 0.50 % tolerated: too much; 3.54 MB, 4.20 ms".
std::string describe_outcome(const TuningConfig& config, const TrialRecord& record);

}  // namespace octavo
