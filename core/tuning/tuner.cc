#include "core/tuning/tuner.h"

#include <algorithm>
#include <cmath>

#include "core/provenance.h"
#include "core/quantization/stage_cache.h"
#include "core/text.h"
#include "core/tuning/decision.h"
#include "core/tuning/journal.h"
#include "core/tuning/strategy.h"

namespace octavo {
namespace {

constexpr int kLatencyRuns = 9;
// Short runs are repeated: clocks of web pages have steps of 0.1 ms.
constexpr double kLeastSeconds = 1e-3;
constexpr int kMostRepeats = 64;

}  // namespace

struct Tuner::State {
  State(Model float_model, TuningConfig tuning, TunerOptions tuner_options)
      : model(std::move(float_model)),
        config(std::move(tuning)),
        options(std::move(tuner_options)),
        context{.model = model, .config = config},
        cache(std::make_shared<StageCache>(options.calib_store)) {}

  const Model model;
  const TuningConfig config;
  TunerOptions options;
  TuningContext context;
  std::unique_ptr<Strategy> strategy;
  Journal journal;
  std::shared_ptr<StageCache> cache;

  std::optional<TrialRecord> baseline;
  std::vector<TrialRecord> trials;
  int64_t best = -1;
  std::optional<QuantizedModel> best_model;
  std::string stopped;
  double begun = 0;

  // The trial at work.
  std::optional<TrialRecord> current;
  std::optional<Quantizer> quantizer;
  std::optional<QuantizedModel> made;
  double trial_begun = 0, quantized_at = 0;
  bool first_pass = true;

  double now() const { return options.clock ? options.clock() : 0; }

  Status write(const std::string& line) const {
    return options.journal ? options.journal(line) : Status();
  }

  void judge(TrialRecord& record) const {
    record.loss = accuracy_loss(config, baseline->accuracy, record.accuracy);
    record.holds = record.ok() && record.loss <= config.tolerable_loss + 1e-12;
  }

  const TrialRecord* with_recipe(const std::string& recipe) const {
    const auto found = std::ranges::find(trials, recipe, &TrialRecord::recipe);
    return found == trials.end() ? nullptr : &*found;
  }

  Status keep(TrialRecord record) {
    record.index = static_cast<int64_t>(trials.size()) + 1;
    trials.push_back(record);
    const TrialRecord& kept = trials.back();
    if (kept.ok() &&
        (best < 0 || is_better(config, *baseline, kept, trials[static_cast<size_t>(best - 1)]))) {
      best = kept.index;
      best_model = std::move(made);
    }
    made.reset();
    strategy->report(context, kept);
    return kept.resumed ? Status() : write(journal_line(kept));
  }

  bool has_success() const { return best > 0 && trials[static_cast<size_t>(best - 1)].holds; }

  // Why no further trial is begun; empty if one may be.
  std::string budget_spent() const {
    if (has_success() && config.stop_at_first && !strategy->runs_to_its_end()) {
      return "a recipe holds the accuracy";
    }
    if (static_cast<int64_t>(trials.size()) >= config.max_trials) {
      return concat("max_trials (", config.max_trials, ") is reached");
    }
    if (config.timeout > 0 && options.clock && now() - begun >= config.timeout) {
      return concat("the timeout of ", short_number_text(config.timeout), " s has passed");
    }
    return "";
  }

  // Latency and memory on a calibration sample.
  Status measure(const Model& tried, TrialRecord& record) const {
    record.size_bytes = constant_bytes(tried.graph());
    if (context.samples.empty()) return {};
    OCTAVO_ASSIGN(Session session, tried.create_session({.pool = options.pool}));
    const NamedTensors& feeds = context.samples.front();
    std::vector<TensorView> inputs;
    for (const ValueId id : session.graph().inputs) {
      const auto feed = std::ranges::find(feeds, session.graph().value(id).name,
                                          &std::pair<std::string, Tensor>::first);
      if (feed != feeds.end()) inputs.push_back(feed->second.view());
    }
    if (inputs.size() == session.graph().inputs.size()) {
      OCTAVO_TRY(session.plan_for(inputs));
      record.memory_bytes = session.memory_bytes();
    }
    if (record.latency_ms || !options.clock) return {};
    std::vector<double> ms;
    for (int i = 0; i <= kLatencyRuns; ++i) {
      const double start = now();
      double elapsed = 0;
      int runs = 0;
      do {
        OCTAVO_TRY(session.run(feeds));
        elapsed = now() - start;
      } while (++runs < kMostRepeats && elapsed < kLeastSeconds);
      if (i > 0) ms.push_back(elapsed * 1e3 / runs);  // the first run makes the plan
    }
    std::ranges::sort(ms);
    record.latency_ms = ms[ms.size() / 2];
    return {};
  }
};

Tuner::Tuner(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tuner::Tuner(Tuner&&) noexcept = default;
Tuner& Tuner::operator=(Tuner&&) noexcept = default;
Tuner::~Tuner() = default;

Result<Tuner> Tuner::create(const Model& model, const TuningConfig& config, TunerOptions options) {
  OCTAVO_TRY(config.validate());
  if (model.shared_graph() == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "there is no model to tune; load one first");
  }
  TuningConfig ordered = config;
  if (config.sampler == "random") {
    std::mt19937_64 random(static_cast<uint64_t>(config.seed));
    for (size_t i = ordered.config_set.size(); i > 1; --i) {
      std::swap(ordered.config_set[i - 1], ordered.config_set[random() % i]);
    }
  }
  auto state = std::make_unique<State>(model, std::move(ordered), std::move(options));
  State& s = *state;
  s.strategy = make_strategy(s.config);
  s.context.history = &s.trials;
  s.context.loss = s.options.loss;
  s.context.pool = s.options.pool;
  s.context.remember =
      [&s](
          const std::string& key,
          const std::function<Result<std::vector<double>>()>& find) -> Result<std::vector<double>> {
    const auto found = s.journal.analyses.find(key);
    if (found != s.journal.analyses.end() && found->second.size() == s.context.ops.size()) {
      return found->second;
    }
    OCTAVO_ASSIGN(std::vector<double> values, find());
    OCTAVO_TRY(s.write(journal_line(key, values)));
    return values;
  };
  OCTAVO_ASSIGN(s.context.ops, tunable_ops(model, s.config));
  OCTAVO_ASSIGN(const std::string hash, model_hash(model.graph()));
  if (s.options.resume.empty()) {
    OCTAVO_TRY(s.write(journal_header(hash, s.config)));
  } else {
    OCTAVO_ASSIGN(s.journal, read_journal(s.options.resume));
    if (s.journal.model != hash) {
      return fail(ErrorCode::kInvalidArgument,
                  "the journal is of another model; resume with the model that it was begun with, "
                  "or begin a new journal");
    }
    s.baseline = s.journal.baseline;
  }
  s.begun = s.now();
  return Tuner(std::move(state));
}

bool Tuner::wants_baseline() const { return !state_->baseline; }

Status Tuner::set_baseline(const EvalResult& result) {
  State& s = *state_;
  if (!std::isfinite(result.accuracy)) {
    return fail(ErrorCode::kInvalidArgument, "the float model's accuracy is not a finite number");
  }
  TrialRecord record;
  record.phase = "float model";
  record.description = "as it is";
  record.accuracy = result.accuracy;
  record.latency_ms = result.latency_ms;
  OCTAVO_TRY(s.measure(s.model, record));
  s.baseline = record;
  return s.write(journal_line(record));
}

void Tuner::add_sample(const NamedTensors& feeds) {
  std::vector<NamedTensors>& samples = state_->context.samples;
  if (static_cast<int64_t>(samples.size()) < state_->config.confidence_batches) {
    samples.push_back(feeds);
  }
}

Result<bool> Tuner::next_trial() {
  State& s = *state_;
  if (!s.baseline) {
    return fail(ErrorCode::kInvalidArgument, "the float model's accuracy is needed first");
  }
  if (s.current) {
    return fail(ErrorCode::kInvalidArgument, "the trial at work has not been reported");
  }
  while (s.stopped.empty()) {
    s.stopped = s.budget_spent();
    if (!s.stopped.empty()) break;
    auto proposed = s.strategy->next(s.context);
    if (!proposed) {
      s.stopped = concat("the strategy cannot go on: ", proposed.error().to_string());
      break;
    }
    if (!*proposed) {
      s.stopped = "the strategy has no further recipe to try";
      break;
    }
    Candidate& candidate = **proposed;
    TrialRecord record;
    record.recipe = candidate.recipe.to_json();
    record.phase = std::move(candidate.phase);
    record.description = std::move(candidate.description);
    if (const TrialRecord* earlier = s.with_recipe(record.recipe)) {
      s.strategy->report(s.context, TrialRecord(*earlier));
      continue;
    }
    const auto journalled =
        std::ranges::find(s.journal.trials, record.recipe, &TrialRecord::recipe);
    if (journalled != s.journal.trials.end()) {
      TrialRecord resumed = *journalled;
      s.judge(resumed);
      OCTAVO_TRY(s.keep(std::move(resumed)));
      continue;
    }
    record.index = static_cast<int64_t>(s.trials.size()) + 1;
    s.trial_begun = s.quantized_at = s.now();
    s.first_pass = true;
    auto quantizer =
        Quantizer::create(s.model, candidate.recipe, {.pool = s.options.pool}, s.cache);
    s.current = std::move(record);
    if (quantizer) {
      s.quantizer = *std::move(quantizer);
      return true;
    }
    OCTAVO_TRY(report(std::unexpected(quantizer.error())));
  }
  return false;
}

const TrialRecord& Tuner::trial() const {
  static const TrialRecord kNone;
  return state_->current ? *state_->current : kNone;
}

bool Tuner::wants_data() const { return state_->quantizer && state_->quantizer->wants_data(); }

Status Tuner::observe(const NamedTensors& feeds) {
  if (!state_->quantizer) {
    return fail(ErrorCode::kInvalidArgument, "no trial is at work; call next_trial() first");
  }
  add_sample(feeds);
  return state_->quantizer->observe(feeds);
}

Result<bool> Tuner::end_pass() {
  return state_->quantizer ? state_->quantizer->end_pass() : Result<bool>(false);
}

Result<QuantizedModel> Tuner::quantize() {
  State& s = *state_;
  if (!s.quantizer) {
    return fail(ErrorCode::kInvalidArgument, "no trial is at work; call next_trial() first");
  }
  OCTAVO_ASSIGN(s.made, s.quantizer->finish());
  s.quantizer.reset();
  OCTAVO_ASSIGN(s.current->model_hash, model_hash(s.made->model.graph()));
  const auto same = std::ranges::find_if(s.trials, [&](const TrialRecord& trial) {
    return trial.ok() && trial.model_hash == s.current->model_hash;
  });
  if (same != s.trials.end()) {
    s.current->same_as = same->same_as < 0 ? same->index : same->same_as;
  }
  s.quantized_at = s.now();
  return *s.made;
}

Status Tuner::report(const Result<EvalResult>& result) {
  State& s = *state_;
  if (!s.current) return fail(ErrorCode::kInvalidArgument, "no trial is at work");
  TrialRecord record = *std::move(s.current);
  s.current.reset();
  s.quantizer.reset();
  const double now = s.now();
  record.quantize_s = s.quantized_at - s.trial_begun;
  record.evaluate_s = now - s.quantized_at;
  if (record.same_as > 0) {
    const TrialRecord& same = s.trials[static_cast<size_t>(record.same_as - 1)];
    record.accuracy = same.accuracy;
    record.latency_ms = same.latency_ms;
    record.size_bytes = same.size_bytes;
    record.memory_bytes = same.memory_bytes;
  } else if (!result) {
    record.error = result.error().to_string();
  } else if (!s.made) {
    record.error = "the trial's model was evaluated before it was quantized";
  } else if (!std::isfinite(result->accuracy)) {
    record.error = "the accuracy is not a finite number";
  } else {
    record.accuracy = result->accuracy;
    record.latency_ms = result->latency_ms;
    if (const Status measured = s.measure(s.made->model, record); !measured) {
      record.error = measured.error().to_string();
    }
  }
  if (record.ok()) s.judge(record);
  return s.keep(std::move(record));
}

std::string Tuner::message() const {
  const State& s = *state_;
  std::string text;
  if (!s.trials.empty()) {
    const TrialRecord& last = s.trials.back();
    text = concat("trial ", last.index, " of at most ", s.config.max_trials, ", ", last.phase, ": ",
                  last.description, ": ", describe_outcome(s.config, last));
    if (last.resumed) {
      text += "; from the journal";
    } else {
      if (last.same_as > 0) text += concat("; the same model as trial ", last.same_as);
      text += concat("; took ", number_text(last.quantize_s, 1), " s to quantize, ",
                     number_text(last.evaluate_s, 1), " s to evaluate");
    }
  }
  if (!s.stopped.empty()) return concat(text, text.empty() ? "" : ". ", "Over: ", s.stopped);
  if (s.current) {
    text +=
        concat(text.empty() ? "" : ". ", "Next: ", s.current->phase, ": ", s.current->description);
  }
  return text;
}

TuningResult Tuner::result() const {
  const State& s = *state_;
  TuningResult result;
  if (s.baseline) result.baseline = *s.baseline;
  result.trials = s.trials;
  result.best = s.best;
  result.success = s.has_success();
  result.stopped = s.stopped;
  result.model = s.best_model;
  result.pareto = pareto_front(s.config, result.baseline, result.trials);
  result.decision = explain_decision(s.config, result);
  return result;
}

}  // namespace octavo
