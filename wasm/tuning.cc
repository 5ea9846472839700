// Autotune and diagnosis, step by step: evaluations and samples come from JavaScript in between.
#include <emscripten/bind.h>
#include <emscripten/emscripten.h>

#include "core/report/report.h"
#include "core/tuning/journal.h"
#include "wasm/model.h"
#include "wasm/runtime/threads.h"

namespace octavo::wasm {
namespace {

/// A result of JavaScript's: {accuracy, latencyMs?}, or {error: message}.
Result<EvalResult> eval_from_js(const val& outcome) {
  if (outcome.hasOwnProperty("error")) {
    return fail(ErrorCode::kInvalidArgument, outcome["error"].as<std::string>());
  }
  EvalResult result(outcome["accuracy"].as<double>());
  if (const val ms = outcome["latencyMs"]; ms.isNumber()) result.latency_ms = ms.as<double>();
  return result;
}

class JsTuner {
 public:
  static val create(const JsModel& model, const std::string& config_json,
                    const std::string& resume) {
    return unwrap(make(model, config_json, resume),
                  [](std::shared_ptr<JsTuner> tuner) { return val(std::move(tuner)); });
  }

  bool wants_baseline() const { return tuner_->wants_baseline(); }
  val set_baseline(const val& outcome) {
    const auto result = eval_from_js(outcome);
    return status_to_js(result ? tuner_->set_baseline(*result)
                               : Status(std::unexpected(result.error())));
  }
  val add_sample(const val& feeds) {
    return observe_feeds(feeds, [&](const NamedTensors& tensors) {
      tuner_->add_sample(tensors);
      return Status();
    });
  }
  val next_trial() {
    return unwrap(tuner_->next_trial(), [](bool more) { return val(more); });
  }
  bool wants_data() const { return tuner_->wants_data(); }
  val observe(const val& feeds) {
    return observe_feeds(feeds,
                         [&](const NamedTensors& tensors) { return tuner_->observe(tensors); });
  }
  val end_pass() {
    return unwrap(tuner_->end_pass(), [](bool again) { return val(again); });
  }
  /// A session of the trial's model; null if its figures are known.
  val quantize() {
    return unwrap(trial_session(), [](const val& session) { return session; });
  }
  val report(const val& outcome) { return status_to_js(tuner_->report(eval_from_js(outcome))); }

  std::string message() const { return tuner_->message(); }
  /// JSON.
  std::string result() const { return tuning_json(tuner_->result()); }
  /// {model, report} of the best trial; undefined if it is not in memory.
  val best_model() const {
    auto model = tuner_->result().model;
    return model ? quantized_to_js(*std::move(model)) : val::undefined();
  }
  /// The lines since the last call.
  std::string take_journal() { return std::exchange(lines_, {}); }

 private:
  static Result<std::shared_ptr<JsTuner>> make(const JsModel& model, const std::string& config_json,
                                               const std::string& resume) {
    OCTAVO_ASSIGN(const TuningConfig config, TuningConfig::from_json(config_json));
    auto made = std::make_shared<JsTuner>();
    TunerOptions options{.clock = [] { return emscripten_get_now() / 1e3; },
                         .journal =
                             [tuner = made.get()](std::string_view line) {
                               tuner->lines_ += line;
                               return Status();
                             },
                         .resume = resume,
                         .pool = thread_pool()};
    OCTAVO_ASSIGN(made->tuner_, Tuner::create(model.model(), config, std::move(options)));
    return made;
  }

  Result<val> trial_session() {
    OCTAVO_ASSIGN(const QuantizedModel made, tuner_->quantize());
    if (tuner_->trial().same_as > 0) return val::null();
    OCTAVO_ASSIGN(Session session, made.model.create_session({.pool = thread_pool()}));
    return session_to_js(std::move(session));
  }

  std::optional<Tuner> tuner_;
  std::string lines_;
};

class JsDiagnoser {
 public:
  static val create(const JsModel& reference, const JsModel& quantized) {
    return unwrap(make(reference, quantized),
                  [](std::shared_ptr<JsDiagnoser> made) { return val(std::move(made)); });
  }

  val observe(const val& feeds) {
    return observe_feeds(feeds,
                         [&](const NamedTensors& tensors) { return reporter_->observe(tensors); });
  }
  /// {json, html}. Names: as the report's reader knows them.
  val finish(const std::string& float_name, const std::string& quantized_name,
             const std::string& data_name) {
    Report report{.float_model = float_name, .quantized_model = quantized_name, .data = data_name};
    if (const Status status = reporter_->finish(report); !status) return to_js(status.error());
    val out = val::object();
    out.set("json", report_json(report));
    out.set("html", report_html(report));
    return out;
  }

 private:
  static Result<std::shared_ptr<JsDiagnoser>> make(const JsModel& reference,
                                                   const JsModel& quantized) {
    auto made = std::make_shared<JsDiagnoser>();
    OCTAVO_ASSIGN(made->reporter_,
                  Reporter::create(reference.model(), quantized.model(), thread_pool()));
    return made;
  }

  std::optional<Reporter> reporter_;
};

}  // namespace

EMSCRIPTEN_BINDINGS(octavo_tuning) {
  emscripten::class_<JsTuner>("Tuner")
      .smart_ptr<std::shared_ptr<JsTuner>>("Tuner")
      .function("wantsBaseline", &JsTuner::wants_baseline)
      .function("setBaseline", &JsTuner::set_baseline)
      .function("addSample", &JsTuner::add_sample)
      .function("nextTrial", &JsTuner::next_trial)
      .function("wantsData", &JsTuner::wants_data)
      .function("observe", &JsTuner::observe)
      .function("endPass", &JsTuner::end_pass)
      .function("quantize", &JsTuner::quantize)
      .function("report", &JsTuner::report)
      .function("message", &JsTuner::message)
      .function("result", &JsTuner::result)
      .function("bestModel", &JsTuner::best_model)
      .function("takeJournal", &JsTuner::take_journal);
  emscripten::class_<JsDiagnoser>("Diagnoser")
      .smart_ptr<std::shared_ptr<JsDiagnoser>>("Diagnoser")
      .function("observe", &JsDiagnoser::observe)
      .function("finish", &JsDiagnoser::finish);
  emscripten::function("createTuner", &JsTuner::create);
  emscripten::function("createDiagnoser", &JsDiagnoser::create);
  emscripten::function("tuningSchema", &tuning_schema);
}

}  // namespace octavo::wasm
