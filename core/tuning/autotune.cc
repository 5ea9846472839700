#include "core/tuning/tuner.h"

namespace octavo {
namespace {

struct CalibrationData {
  DataLoader* loader;
  int64_t iterations;
  const CalibFunc& func;
  bool fresh = true;  // the loader stands at its first sample

  Status rewind() {
    if (fresh || loader == nullptr) return {};
    OCTAVO_TRY(loader->rewind());
    fresh = true;
    return {};
  }
  /// Calls `observe` with each sample.
  Status pass(const std::function<Status(const NamedTensors&)>& observe) {
    if (func) return func(observe);
    if (loader == nullptr) return no_calibration_data();
    OCTAVO_TRY(rewind());
    fresh = false;
    for (int64_t i = 0; i < iterations; ++i) {
      OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, loader->next());
      if (!feeds) break;
      OCTAVO_TRY(observe(*feeds));
    }
    return {};
  }
};

Result<EvalResult> run_trial(Tuner& tuner, CalibrationData& data, const EvalFn& eval_fn) {
  while (tuner.wants_data()) {
    OCTAVO_TRY(data.pass([&](const NamedTensors& feeds) { return tuner.observe(feeds); }));
    OCTAVO_ASSIGN(const bool again, tuner.end_pass());
    if (!again) break;
  }
  OCTAVO_ASSIGN(const QuantizedModel made, tuner.quantize());
  if (tuner.trial().same_as > 0) return EvalResult(0);  // its figures are known
  return eval_fn(made.model);
}

}  // namespace

Result<TuningResult> autotune(const Model& model, const TuningConfig& tune_config,
                              const EvalFn& eval_fn, DataLoader* calib_dataloader,
                              int64_t calib_iteration, const CalibFunc& calib_func,
                              const AutotuneOptions& options) {
  if (!eval_fn) {
    return fail(ErrorCode::kInvalidArgument, "autotune needs an eval_fn that gives the accuracy");
  }
  if (calib_iteration <= 0) {
    return fail(ErrorCode::kInvalidArgument, "calib_iteration is ", calib_iteration,
                "; it must be at least 1");
  }
  OCTAVO_ASSIGN(Tuner tuner, Tuner::create(model, tune_config, options));
  CalibrationData data{calib_dataloader, calib_iteration, calib_func};
  // A few samples beforehand: to time the models, and for strategies that look into them.
  if (calib_dataloader != nullptr && !calib_func) {
    for (int64_t i = 0; i < std::min(calib_iteration, tune_config.confidence_batches); ++i) {
      data.fresh = false;
      OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, calib_dataloader->next());
      if (!feeds) break;
      tuner.add_sample(*feeds);
    }
    OCTAVO_TRY(data.rewind());
  }
  if (tuner.wants_baseline()) {
    OCTAVO_ASSIGN(const EvalResult baseline, eval_fn(model));
    OCTAVO_TRY(tuner.set_baseline(baseline));
  }
  OCTAVO_ASSIGN(bool more, tuner.next_trial());
  while (more) {
    OCTAVO_TRY(tuner.report(run_trial(tuner, data, eval_fn)));
    const TrialRecord last = tuner.result().trials.back();
    OCTAVO_ASSIGN(more, tuner.next_trial());
    if (options.on_trial && !options.on_trial(last, tuner.message())) {
      return fail(ErrorCode::kCancelled, "tuning was cancelled after ", last.index,
                  " trials; its journal can be resumed");
    }
  }
  TuningResult result = tuner.result();
  if (result.best < 0) return fail(ErrorCode::kNotFound, result.decision);
  if (!result.model) {  // the best was in the journal
    const TrialRecord& best = result.trials[static_cast<size_t>(result.best - 1)];
    OCTAVO_ASSIGN(const Recipe recipe, Recipe::from_json(best.recipe));
    OCTAVO_TRY(data.rewind());
    OCTAVO_ASSIGN(result.model, quantize_model(model, recipe, calib_dataloader, calib_iteration,
                                               calib_func, {.pool = options.pool}));
  }
  return result;
}

}  // namespace octavo
