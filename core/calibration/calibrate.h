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

/// What to collect of a value; nothing if not `wanted`.
struct WantedValue {
  bool wanted = false;
  CollectorOptions options = {.histogram = false};
};

/// Collects what `wanted` (by ValueId) says from one sample's feeds after another.
class Calibrator {
 public:
  static Result<std::unique_ptr<Calibrator>> create(std::shared_ptr<const Graph> graph,
                                                    const std::vector<WantedValue>& wanted,
                                                    SessionOptions options = {});
  virtual ~Calibrator() = default;
  /// Errors: kInvalidData (NaN or infinity in the feeds or in a computed tensor, naming tensor and
  /// sample), and those of Session::run. The sample then counts for nothing.
  /// `also` see the values that they want, too.
  virtual Status observe(const NamedTensors& feeds, std::span<Observer* const> also = {}) = 0;
  virtual const Calibration& calibration() const = 0;
  /// What was collected; nothing more can be observed.
  virtual std::shared_ptr<const Calibration> take() = 0;
};

/// Error kInvalidData naming the input and the sample if a float feed holds NaN or infinity.
Status check_finite_feeds(const NamedTensors& feeds, int64_t sample);

/// Runs `session` on a sample of calibration data with `observer` watching. Errors: as
/// check_finite_feeds and Session::run.
Status observe_sample(Session& session, const NamedTensors& feeds, int64_t sample,
                      Observer& observer);

}  // namespace octavo
