// Accuracy-driven tuning, step by step, for callers who evaluate (and wait) between the steps:
//
//   tuner.set_baseline(evaluate(float model))
//   while tuner.next_trial():
//     while tuner.wants_data(): observe(each sample); if end_pass() is false: break
//     tuner.report(evaluate(tuner.quantize()))           (or the error of any of these steps)
//   tuner.result()
//
// autotune() is that loop.
#pragma once

#include <memory>

#include "core/octavo.h"
#include "core/tuning/tuning_config.h"

namespace octavo {

/// What an evaluation found.
struct EvalResult {
  double accuracy = 0;                           // in any unit
  std::optional<double> latency_ms = {};         // of one run; the tuner measures it otherwise
  EvalResult(double value) : accuracy(value) {}  // NOLINT: an accuracy is a result
  EvalResult(double value, double ms) : accuracy(value), latency_ms(ms) {}
};

struct TrialRecord {
  int64_t index = 0;        // 0: the float model
  std::string recipe;       // JSON; empty: the float model
  std::string phase;        // of the strategy: "op by op"
  std::string description;  // "Conv_3 in fp32"
  std::string error;        // empty if the trial came to its end
  double accuracy = 0;
  double loss = 0;     // in units of tolerable_loss: negative is a gain
  bool holds = false;  // the loss is tolerable
  std::optional<double> latency_ms;
  int64_t size_bytes = 0;    // of constants
  int64_t memory_bytes = 0;  // constants and activations of one run; 0 if unknown
  double quantize_s = 0, evaluate_s = 0;
  int64_t same_as = -1;  // an earlier trial that made the same model, whose figures these are
  bool resumed = false;  // from the journal
  std::string model_hash;

  bool ok() const { return error.empty(); }
};

struct TuningResult {
  bool success = false;  // `best` holds the accuracy
  TrialRecord baseline;
  std::vector<TrialRecord> trials;
  int64_t best = -1;            // index of the best trial so far; -1: none came to its end
  std::vector<int64_t> pareto;  // trials that none beats in accuracy, latency and size; 0: float
  std::string decision;         // why `best`, in words
  std::string stopped;          // why tuning is over, in words; empty while it is not
  std::optional<QuantizedModel> model;  // of `best`, if it is in memory
};

using LossFn = std::function<Result<double>(const Model&)>;

struct TunerOptions {
  std::function<double()> clock = {};  // seconds; none: no timeout, no times, no latency
  /// Receives the journal line by line (each ends in \n).
  std::function<Status(std::string_view line)> journal = {};
  /// The journal of an earlier run over the same model: its trials are not run again.
  std::string resume = {};
  /// Of hawq_v2: the loss of a float model. None: the mean squared change of its outputs.
  LossFn loss = {};
  std::shared_ptr<ThreadPool> pool = nullptr;
  /// QuantizeOptions::calib_store. Trials share their calibration anyway.
  std::shared_ptr<CalibrationStore> calib_store = nullptr;
};

class Tuner {
 public:
  /// Errors: kInvalidArgument (a config's, a journal of another model), those of Recipe stages.
  static Result<Tuner> create(const Model& model, const TuningConfig& config,
                              TunerOptions options = {});
  Tuner(Tuner&&) noexcept;
  Tuner& operator=(Tuner&&) noexcept;
  ~Tuner();

  /// False if the journal has it.
  bool wants_baseline() const;
  /// The float model's result. Error kInvalidArgument if it is not finite.
  Status set_baseline(const EvalResult& result);

  /// Keeps the sample if fewer than confidence_batches are kept: models are timed on it, and some
  /// strategies judge operators by it. observe() does so too; before the first trial it serves the
  /// baseline.
  void add_sample(const NamedTensors& feeds);

  /// Goes to the next trial; false when tuning is over.
  Result<bool> next_trial();
  /// The trial at work: phase, description, recipe.
  const TrialRecord& trial() const;

  // As those of Quantizer, for the trial at work.
  bool wants_data() const;
  Status observe(const NamedTensors& feeds);
  Result<bool> end_pass();
  /// The trial's model. It may equal an earlier trial's (trial().same_as): then there is nothing to
  /// evaluate, and report() wants nothing.
  Result<QuantizedModel> quantize();

  /// Ends the trial at work with its evaluation, or with the error of any of its steps.
  Status report(const Result<EvalResult>& result);

  /// What the last trial cost and found, and what is next: one line, for people.
  std::string message() const;
  /// Valid at any time: the best so far.
  TuningResult result() const;

 private:
  struct State;
  explicit Tuner(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

using EvalFn = std::function<Result<EvalResult>(const Model&)>;

struct AutotuneOptions : TunerOptions {
  /// Told after each trial, with Tuner::message(); false cancels.
  std::function<bool(const TrialRecord& trial, const std::string& message)> on_trial = {};
};

/// Neural Compressor's call: finds a recipe whose model keeps the accuracy that `eval_fn` measures,
/// within `tune_config`'s budget. The calibration data are quantize_model's; a loader is rewound
/// for each trial that reads it.
/// Errors: those of Tuner; kNotFound if no trial came to its end; an error of eval_fn on the float
/// model. Errors in trials are recorded, and tuning goes on.
Result<TuningResult> autotune(const Model& model, const TuningConfig& tune_config,
                              const EvalFn& eval_fn, DataLoader* calib_dataloader,
                              int64_t calib_iteration = 100, const CalibFunc& calib_func = {},
                              const AutotuneOptions& options = {});

}  // namespace octavo
