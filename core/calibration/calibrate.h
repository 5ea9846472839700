// Runs a float model on calibration data and collects the ranges of its values. Streams: memory is
// that of one sample and one collector a tensor.
#pragma once

#include <memory>
#include <vector>

#include "core/calibration/collector.h"
#include "core/octavo.h"

namespace octavo {

struct Calibration {
  std::vector<std::unique_ptr<Collector>> collectors;  // by ValueId; nullptr where not wanted
  int64_t samples = 0;
};

/// What to collect of a value.
struct WantedValue {
  std::string algorithm = {};  // an act_algorithm; empty: the value is not wanted
  bool per_channel = false;    // the ranges of its channels too
};

/// Collects what `wanted` (by ValueId) says. Reads the first
/// `iterations` items of `loader`, unless `calib_func` is set and drives the calibration.
/// Errors: kInvalidArgument without any data, kInvalidData (NaN or infinity in the data or in a
/// computed tensor, naming tensor and sample), kCancelled.
Result<Calibration> calibrate(std::shared_ptr<const Graph> graph,
                              const std::vector<WantedValue>& wanted, DataLoader* loader,
                              int64_t iterations, const CalibFunc& calib_func,
                              const QuantizeOptions& options);

/// Error kInvalidData naming the input and the sample if a float feed holds NaN or infinity.
Status check_finite_feeds(const NamedTensors& feeds, int64_t sample);

}  // namespace octavo
