#include "core/tuning/decision.h"

#include <algorithm>
#include <cmath>

#include "core/text.h"

namespace octavo {
namespace {

double score(const TuningConfig& config, const TrialRecord& baseline, const TrialRecord& record) {
  const auto objectives = parse_objectives(config.objective);
  if (!objectives) return 0;
  // Each part is 1 for the float model's figure, and larger for better ones.
  const auto ratio = [](double before, double after) { return after > 0 ? before / after : 1; };
  double sum = 0, weights = 0;
  for (const Objective& objective : *objectives) {
    double part = 1;
    switch (objective.kind) {
      case Objective::Kind::kAccuracy: part = 1 - record.loss; break;
      case Objective::Kind::kLatency:
        if (record.latency_ms && baseline.latency_ms) {
          part = ratio(*baseline.latency_ms, *record.latency_ms);
        }
        break;
      case Objective::Kind::kSize:
        part =
            ratio(static_cast<double>(baseline.size_bytes), static_cast<double>(record.size_bytes));
        break;
      case Objective::Kind::kMemory:
        part = ratio(static_cast<double>(baseline.memory_bytes),
                     static_cast<double>(record.memory_bytes));
        break;
    }
    sum += objective.weight * part;
    weights += objective.weight;
  }
  return weights > 0 ? sum / weights : 0;
}

// a is at least as good in everything, and better in something.
bool dominates(const TuningConfig& config, const TrialRecord& a, const TrialRecord& b) {
  const double sign = config.higher_is_better ? 1 : -1;
  const double accuracy = sign * (a.accuracy - b.accuracy);
  const double latency = a.latency_ms && b.latency_ms ? *b.latency_ms - *a.latency_ms : 0;
  const auto size = b.size_bytes - a.size_bytes;
  return accuracy >= 0 && latency >= 0 && size >= 0 && (accuracy > 0 || latency > 0 || size > 0);
}

std::string loss_text(const TuningConfig& config, double loss) {
  return config.criterion == "relative" ? percent_text(loss) : short_number_text(loss);
}

std::string compared(double before, double after, const char* better, const char* worse) {
  if (!(before > 0) || !(after > 0)) return "";
  return after <= before ? concat(number_text(before / after, 2), " times ", better)
                         : concat(number_text(after / before, 2), " times ", worse);
}

}  // namespace

double accuracy_loss(const TuningConfig& config, double baseline, double accuracy) {
  const double difference = config.higher_is_better ? baseline - accuracy : accuracy - baseline;
  return config.criterion == "relative" && baseline != 0 ? difference / std::fabs(baseline)
                                                         : difference;
}

bool is_better(const TuningConfig& config, const TrialRecord& baseline, const TrialRecord& a,
               const TrialRecord& b) {
  if (a.holds != b.holds) return a.holds;
  if (a.holds) {
    const double of_a = score(config, baseline, a), of_b = score(config, baseline, b);
    if (of_a != of_b) return of_a > of_b;
  }
  if (a.loss != b.loss) return a.loss < b.loss;
  return a.size_bytes < b.size_bytes;
}

std::vector<int64_t> pareto_front(const TuningConfig& config, const TrialRecord& baseline,
                                  const std::vector<TrialRecord>& trials) {
  std::vector<const TrialRecord*> all = {&baseline};
  for (const TrialRecord& trial : trials) {
    if (trial.ok() && trial.same_as < 0) all.push_back(&trial);
  }
  std::vector<int64_t> front;
  for (const TrialRecord* record : all) {
    const bool beaten = std::ranges::any_of(all, [&](const TrialRecord* other) {
      return other != record && dominates(config, *other, *record);
    });
    if (!beaten) front.push_back(record->index);
  }
  return front;
}

std::string describe_outcome(const TuningConfig& config, const TrialRecord& record) {
  if (!record.ok()) return concat("failed: ", record.error);
  std::string text = concat(
      "accuracy ", short_number_text(record.accuracy), ", loss ", loss_text(config, record.loss),
      " of ", loss_text(config, config.tolerable_loss),
      " tolerated: ", record.holds ? "holds" : "too much", "; ", bytes_text(record.size_bytes));
  if (record.latency_ms) text += concat(", ", number_text(*record.latency_ms, 2), " ms");
  return text;
}

std::string explain_decision(const TuningConfig& config, const TuningResult& result) {
  const auto failed =
      std::ranges::count_if(result.trials, [](const TrialRecord& t) { return !t.ok(); });
  const std::string count =
      concat(result.trials.size(), result.trials.size() == 1 ? " trial" : " trials",
             failed > 0 ? concat(" (", failed, " failed)") : std::string());
  if (result.best < 1) {
    return concat("None of ", count, " came to its end",
                  result.trials.empty() ? std::string(".")
                                        : concat("; the last error: ", result.trials.back().error));
  }
  const TrialRecord& best = result.trials[static_cast<size_t>(result.best - 1)];
  std::string text = concat("Trial ", best.index, " (", best.phase, ": ", best.description, ") ");
  const std::string loss =
      concat("an accuracy of ", short_number_text(best.accuracy), " against the float model's ",
             short_number_text(result.baseline.accuracy), ", a ", best.loss < 0 ? "gain" : "loss",
             " of ", loss_text(config, std::fabs(best.loss)));
  if (result.success) {
    const auto holding = std::ranges::count_if(result.trials, &TrialRecord::holds);
    text += concat("keeps ", loss, " where ", loss_text(config, config.tolerable_loss),
                   " is tolerated. ");
    if (holding > 1) {
      std::string parts;
      for (const std::string& part : config.objective) {
        parts += concat(parts.empty() ? "" : ", ", part);
      }
      text += concat("Of ", holding, " recipes that hold it is the best by the objective (", parts,
                     "). ");
    } else {
      text += concat("It is the only one of ", count, " that holds. ");
    }
  } else {
    text += concat("comes nearest of ", count, ", with ", loss, "; ",
                   loss_text(config, config.tolerable_loss), " was to be kept. ");
  }
  const std::string size = compared(static_cast<double>(result.baseline.size_bytes),
                                    static_cast<double>(best.size_bytes), "smaller", "larger");
  text += concat("It is ", size, " than the float model");
  if (best.latency_ms && result.baseline.latency_ms) {
    const std::string time =
        compared(*result.baseline.latency_ms, *best.latency_ms, "faster", "slower");
    if (!time.empty()) text += concat(" and ", time);
  }
  text += ".";
  if (!result.success) {
    if (result.baseline.accuracy == 0) {
      text +=
          " The float model itself scores 0: check the evaluation data, their preprocessing "
          "and the labels.";
    } else {
      text += " More trials, a larger tolerable_loss or the strategy 'basic' may help.";
    }
  }
  return text;
}

}  // namespace octavo
