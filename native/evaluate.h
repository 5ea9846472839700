// Accuracy on labelled data, and two models side by side.
#pragma once

#include <vector>

#include "native/dataset.h"

namespace octavo {

/// Right if the label is among the k highest scores of output 0.
struct TopK {
  int64_t samples = 0, correct = 0;
  double share() const {
    return samples == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(samples);
  }
};

struct Evaluation {
  TopK accuracy;
  double median_ms = 0;  // of one run, data preparation not included
};

/// Errors: kInvalidData (no labels, or one that is not a class), kShapeMismatch.
Result<Evaluation> evaluate(Session& session, Dataset& data, int64_t k,
                            const ProgressFn& progress = {});

/// What quantization did, on data that both models see.
struct SideBySide {
  int64_t samples = 0;
  double agreement = 0;  // share of samples with the same highest score in output 0
  double sqnr_db = 0;    // of output 0, over all samples; at most 200
  double median_ms[2] = {0, 0};
  bool has_labels = false;
  TopK top1[2];
};
Result<SideBySide> run_side_by_side(Session& reference, Session& other, Dataset& data,
                                    const ProgressFn& progress = {});

/// The q-th quantile (0 to 1) of a sample, by linear interpolation; 0 if it is empty.
double quantile(std::vector<double> values, double q);

}  // namespace octavo
