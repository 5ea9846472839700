// The façade: the method names and option structs that every surface (C++, CLI, JSON, JavaScript)
// follows. Bytes in, bytes out; no file or OS access.
//
//   auto model = Model::load(bytes);
//   auto small = quantize_model(*model, StaticQuantConfig{}, &calibration_data);
//   auto file  = small->model.to_compact();
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config/recipe.h"
#include "core/diagnosis/distribution.h"
#include "runtime/session.h"

namespace octavo {

using Bytes = std::vector<uint8_t>;

/// Reads `length` bytes (0: to the end) at `offset` of an external-data file named by the model.
/// The caller must refuse names that lead outside the model's folder.
using ExternalDataReader =
    std::function<Result<Bytes>(const std::string& location, int64_t offset, int64_t length)>;

struct LoadOptions {
  ExternalDataReader external_data = {};  // none: a model with external data is an error
  /// Keeps the memory behind the model's bytes alive; set it to use a compact file's weights in
  /// place.
  std::shared_ptr<const void> owner = nullptr;
  bool optimize = true;  // false: the graph exactly as the file has it
};

struct OnnxOptions {
  /// Keeps the names of a quantized model's inner tensors and nodes where they would be more than
  /// 1 % of its constants' bytes. Otherwise such names are replaced by short ones.
  bool keep_names = false;
};

/// A float or quantized model. Copies share the graph.
class Model {
 public:
  Model() = default;
  explicit Model(std::shared_ptr<const Graph> graph) : graph_(std::move(graph)) {}

  /// ONNX or .octavo bytes, told apart by their content. ONNX models are imported, quantized
  /// sub-graphs (QDQ and QOperator) collapsed, and simplified.
  /// Errors: kInvalidModel, kUnsupportedOp (names all unsupported operators), kLimitExceeded.
  static Result<Model> load(std::span<const uint8_t> bytes, const LoadOptions& options = {});

  const Graph& graph() const { return *graph_; }
  std::shared_ptr<const Graph> shared_graph() const { return graph_; }

  /// ONNX, quantized values expanded to QuantizeLinear / DequantizeLinear pairs.
  Result<Bytes> to_onnx(const OnnxOptions& options = {}) const;
  /// The .octavo file. A quantized model has been fused as for running: a runtime without core
  /// computes the same integers.
  Result<Bytes> to_compact() const;
  /// Runs the model, after fusing what only execution cares about (residual additions, ...).
  Result<Session> create_session(SessionOptions options = {}) const;

 private:
  std::shared_ptr<const Graph> graph_;
};

/// Yields the feeds of one calibration sample (or batch) after another; nullopt at the end.
class DataLoader {
 public:
  virtual ~DataLoader() = default;
  virtual Result<std::optional<NamedTensors>> next() = 0;
  /// Starts again from the first sample: some algorithms read the data more than once. Also called
  /// before the first sample. Error kUnavailable, the default, if that is not possible; samples
  /// that are wanted again are kept in memory then.
  virtual Status rewind();
};

/// Called with (done, total); total 0 if unknown. False cancels. `done` starts anew with each pass
/// over the data, and with the steps of algorithms that take long behind them (learned rounding).
using ProgressFn = std::function<bool(int64_t done, int64_t total)>;

/// What became of one operator.
struct NodeReport {
  std::string name, op;
  bool quantized = false;            // computes on integers or in half precision
  std::string weights, activations;  // "int8 per_channel", "uint8", "bf16"; empty if float
  std::string reason;                // why it stayed float; empty if quantized
};

struct QuantizeReport {
  std::vector<NodeReport> nodes;
  int64_t float_bytes = 0, quantized_bytes = 0;  // of constants
  int64_t samples = 0;                           // calibration samples seen
  std::vector<std::string> warnings;
};

struct QuantizedModel {
  Model model;
  QuantizeReport report;
};

/// Keeps what calibration found from one run to the next, under names that stand for the model and
/// the data.
class CalibrationStore {
 public:
  virtual ~CalibrationStore() = default;
  virtual std::optional<Bytes> load(const std::string& name) = 0;
  virtual Status save(const std::string& name, std::span<const uint8_t> bytes) = 0;
};

struct QuantizeOptions {
  ProgressFn progress = {};
  std::shared_ptr<ThreadPool> pool = nullptr;
  /// What compare() asks before the portable backend. Calibration is the portable one's.
  std::vector<std::shared_ptr<Backend>> backends = {};
  /// The quantized file is the same bytes on every machine: floats are summed in one fixed order,
  /// without fused multiply-add (make_deterministic_backend).
  bool deterministic = false;
  /// With it the data are first read once without running the model, to see whether they and the
  /// model are known; if so, static quantization does not calibrate again.
  std::shared_ptr<CalibrationStore> calib_store = nullptr;
};

/// Runs calibration the caller's way: call the function given with each sample's feeds. Called once
/// for each pass over the data.
using CalibFunc = std::function<Status(const std::function<Status(const NamedTensors&)>& observe)>;

/// Neural Compressor's call: quantizes a trained model by a recipe (a config, or a list of them
/// applied one after another). Of `calib_dataloader` the first `calib_iteration` items are used,
/// unless `calib_func` drives the calibration itself. Both may be absent if no stage wants data.
/// Errors: kInvalidArgument (bad configuration, unknown names), kInvalidData (NaN, wrong shapes),
/// kNotFound (set_local names that match nothing; suggests the nearest).
Result<QuantizedModel> quantize_model(const Model& model, const Recipe& recipe,
                                      DataLoader* calib_dataloader, int64_t calib_iteration = 100,
                                      const CalibFunc& calib_func = {},
                                      const QuantizeOptions& options = {});

/// The error of a call that gives no data to a recipe that wants some.
std::unexpected<Error> no_calibration_data();

class StageCache;  // core/quantization/stage_cache.h

/// quantize_model in steps, for callers whose data arrive between calls:
///
///   while wants_data(): observe(each sample); if end_pass() is false: break
///   finish()
class Quantizer {
 public:
  /// Errors: those of quantize_model that need no data.
  /// `cache`: what recipes over the same model and the same data have in common is done once.
  static Result<Quantizer> create(const Model& model, const Recipe& recipe,
                                  const QuantizeOptions& options = {},
                                  std::shared_ptr<StageCache> cache = nullptr);
  Quantizer(Quantizer&&) noexcept;
  Quantizer& operator=(Quantizer&&) noexcept;
  ~Quantizer();

  bool wants_data() const;
  /// Whether the samples of this pass may be wanted again.
  bool may_want_again() const;
  /// Takes one calibration sample's feeds. Errors: kInvalidData and those of Session::run; the
  /// sample then counts for nothing.
  Status observe(const NamedTensors& feeds);
  /// All samples have been observed. True if they are wanted once more, from the first one.
  /// Error kInvalidArgument if there were none.
  Result<bool> end_pass();
  /// The quantized model. Ends the pass if that was not done. Error kInvalidArgument if the data
  /// are wanted again after that.
  Result<QuantizedModel> finish();

 private:
  struct State;
  explicit Quantizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// One tensor of two models, compared over a data set.
struct TensorComparison {
  std::string tensor, node_op;
  double sqnr_db = 0;  // 10 log10(sum a^2 / sum (a - b)^2), over all samples; at most 200
  double cosine = 0;
  double mse = 0;  // mean of (a - b)^2
  double kl = 0;   // Kullback-Leibler divergence of the distributions, in nats
  double max_abs_error = 0;
  Distribution distribution = {};  // of both models' values
};
struct Comparison {
  std::vector<TensorComparison> outputs;
  std::vector<TensorComparison> tensors;  // of the same name in both, in graph order
  double agreement = 0;                   // share of samples with the same argmax in output 0
  int64_t samples = 0;
};
/// Runs both models on the data and compares what they have in common.
Result<Comparison> compare(const Model& a, const Model& b, DataLoader& data,
                           const QuantizeOptions& options = {});

}  // namespace octavo
