// Where a quantized model loses accuracy: every tensor's error in the whole run, the error that
// each operator adds by itself, its weights' error, and what the chosen ranges cut off.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/diagnosis/compare.h"
#include "core/octavo.h"

namespace octavo {

/// A tensor of both models.
struct TensorDiagnosis : TensorComparison {
  bool quantized = false;
  std::string dtype = {};    // of the quantized model: "u8", "f32"
  double low = 0, high = 0;  // the real numbers that its integers reach; if quantized
  double scale = 0;          // of the integers; if per tensor
  double clipped = 0;        // share of the float model's values outside [low, high]
};

/// A node of the quantized model.
struct OpDiagnosis {
  std::string node, op, tensor;  // tensor: its first output
  bool quantized = false;
  std::string weights, activations;   // dtypes and granularity; empty if float
  std::optional<double> sqnr_db;      // of its output in the whole run
  std::optional<double> own_sqnr_db;  // of its output when its inputs are the float model's
  std::optional<double> weight_sqnr_db;
};

struct Diagnosis {
  int64_t samples = 0;
  double agreement = 0;  // share of samples with the same argmax in output 0
  int64_t float_bytes = 0, quantized_bytes = 0;  // of constants
  std::vector<TensorComparison> outputs;
  std::vector<TensorDiagnosis> tensors;  // in graph order
  std::vector<OpDiagnosis> ops;          // in graph order
};

/// diagnose() in steps, for callers whose samples arrive between calls.
class Diagnoser {
 public:
  static Result<Diagnoser> create(const Model& float_model, const Model& quantized,
                                  std::shared_ptr<ThreadPool> pool = nullptr);
  Diagnoser(Diagnoser&&) noexcept;
  Diagnoser& operator=(Diagnoser&&) noexcept;
  ~Diagnoser();

  Status observe(const NamedTensors& feeds);
  /// Error kInvalidArgument if there were no samples.
  Result<Diagnosis> finish();

 private:
  struct State;
  explicit Diagnoser(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Runs both models on the data. Errors: those of compare().
Result<Diagnosis> diagnose(const Model& float_model, const Model& quantized, DataLoader& data,
                           const QuantizeOptions& options = {});

/// Errors of output 0 with only some of the model quantized, as SQNR in dB.
struct ErrorSources {
  double weights_sqnr_db = 0;      // quantized weights, float activations
  double activations_sqnr_db = 0;  // what quantizing the activations adds to that
  double both_sqnr_db = 0;
};

/// Samples that are enough to tell the sources apart.
inline constexpr int64_t kSourceSamples = 16;

/// Finds them in steps. Each sample is run six times.
class ErrorSourceFinder {
 public:
  static Result<ErrorSourceFinder> create(const Model& float_model, const Model& quantized,
                                          const std::shared_ptr<ThreadPool>& pool = nullptr);
  Status observe(const NamedTensors& feeds);
  /// Error kInvalidArgument if there were no samples.
  Result<ErrorSources> finish() const;

 private:
  explicit ErrorSourceFinder(std::vector<Comparer> pairs) : pairs_(std::move(pairs)) {}
  std::vector<Comparer> pairs_;  // weights, activations, both
};

/// Errors: those of compare().
Result<ErrorSources> error_sources(const Model& float_model, const Model& quantized,
                                   DataLoader& data, const QuantizeOptions& options = {});

}  // namespace octavo
