// Two models run on the same data, tensor by tensor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/diagnosis/channel_scale.h"
#include "core/octavo.h"

namespace octavo {

inline constexpr double kMaxSqnr = 200;  // dB; what equal tensors get

/// Sums over all samples, from which the figures of a comparison follow.
struct ErrorSums {
  double aa = 0, bb = 0, ab = 0, error = 0, max_error = 0;
  int64_t count = 0;

  void add(std::span<const float> a, std::span<const float> b);
  double sqnr_db() const;
  double cosine() const;
  double mse() const { return count == 0 ? 0 : error / static_cast<double>(count); }
};

/// Real numbers of a tensor, in plain layout.
Result<Tensor> real_tensor(const TensorView& view);

/// The real numbers that a value's integers stand for; nothing if it is float or per channel.
struct ReachableRange {
  double low = 0, high = 0, scale = 0;
};
std::optional<ReachableRange> reachable_range(const Value& value);

using TensorMap = std::map<std::string, Tensor>;
/// Called after each sample's run of model a with its tensors (inputs and outputs too) by name.
using SampleHook = std::function<Status(const TensorMap& tensors_of_a)>;

/// compare() in steps, for callers whose samples arrive between calls.
class Comparer {
 public:
  /// `hook` may be none. `scaled`: by the names of b's tensors, the tensors of a that they are
  /// compared with.
  Comparer(Session a, Session b, std::map<std::string, ScaledTensor> scaled, SampleHook hook = {});
  static Result<Comparer> create(const Model& a, const Model& b, const SessionOptions& session);
  Comparer(Comparer&&) noexcept;
  Comparer& operator=(Comparer&&) noexcept;
  ~Comparer();

  Status observe(const NamedTensors& feeds);
  /// Error kInvalidArgument if there were no samples.
  Result<Comparison> finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Calls `observe` with each sample.
Status for_each_sample(DataLoader& data, const ProgressFn& progress,
                       const std::function<Status(const NamedTensors&)>& observe);

}  // namespace octavo
