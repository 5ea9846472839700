#include "native/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace octavo {
namespace {

/// The scores of each sample in a batch, widened.
struct Scores {
  std::vector<double> values;
  int64_t classes = 0;
  std::span<const double> sample(int64_t i) const {
    return std::span(values).subspan(static_cast<size_t>(i * classes),
                                     static_cast<size_t>(classes));
  }
};

Result<Scores> output_scores(const NamedTensors& outputs, int64_t batch) {
  if (outputs.empty()) return fail(ErrorCode::kInvalidModel, "the model has no outputs");
  const auto& [name, tensor] = outputs.front();
  Scores scores;
  scores.values.resize(static_cast<size_t>(tensor.elements()));
  const bool is_number = visit_dtype(
      tensor.dtype(),
      [&]<class T>() {
        std::ranges::transform(tensor.data<T>(), scores.values.begin(), [](T x) {
          return static_cast<double>(static_cast<ComputeType<T>>(x));
        });
        return true;
      },
      [] { return false; });
  if (!is_number || scores.values.empty() || tensor.elements() % batch != 0) {
    return fail(ErrorCode::kShapeMismatch, "output '", name, "' of shape ",
                tensor.shape().to_string(), " does not hold scores for ", batch, " sample(s)");
  }
  scores.classes = tensor.elements() / batch;
  return scores;
}

int64_t best_class(std::span<const double> scores) {
  return std::ranges::max_element(scores) - scores.begin();
}

/// How many classes come before `label`; of equal scores the first is the better.
int64_t rank_of(std::span<const double> scores, int64_t label) {
  const double own = scores[static_cast<size_t>(label)];
  if (own != own) return static_cast<int64_t>(scores.size());  // NaN is never right
  int64_t rank = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    rank += scores[i] > own || (scores[i] == own && static_cast<int64_t>(i) < label);
  }
  return rank;
}

Status check_label(const Dataset& data, int64_t index, int64_t classes) {
  const int64_t label = data.label(index);
  if (label >= 0 && label < classes) return {};
  return fail(ErrorCode::kInvalidData, "the label of sample ", index, " is ", label,
              ", but the model has ", classes, " classes");
}

Result<NamedTensors> timed_run(Session& session, const NamedTensors& feeds,
                               std::vector<double>& ms) {
  const auto start = std::chrono::steady_clock::now();
  auto outputs = session.run(feeds);
  ms.push_back(
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  return outputs;
}

/// Calls fn(feeds, index of the first sample, number of samples) for each feed.
template <class Fn>
Status for_each_feed(Dataset& data, const ProgressFn& progress, const Fn& fn) {
  for (int64_t done = 0;;) {
    OCTAVO_ASSIGN(const auto feeds, data.next());
    if (!feeds) return {};
    OCTAVO_TRY(fn(*feeds, done, data.last_count()));
    done += data.last_count();
    if (progress && !progress(done, data.size())) return fail(ErrorCode::kCancelled, "cancelled");
  }
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

Result<Evaluation> evaluate(Session& session, Dataset& data, int64_t k,
                            const ProgressFn& progress) {
  if (!data.has_labels()) {
    return fail(ErrorCode::kInvalidData,
                "the data have no labels: add labels.csv or NAME_labels.npy, or pass --labels");
  }
  Evaluation result;
  std::vector<double> ms;
  OCTAVO_TRY(for_each_feed(
      data, progress, [&](const NamedTensors& feeds, int64_t first, int64_t count) -> Status {
        OCTAVO_ASSIGN(const NamedTensors outputs, timed_run(session, feeds, ms));
        OCTAVO_ASSIGN(const Scores scores, output_scores(outputs, data.batch()));
        for (int64_t i = 0; i < count; ++i) {
          OCTAVO_TRY(check_label(data, first + i, scores.classes));
          ++result.accuracy.samples;
          result.accuracy.correct += rank_of(scores.sample(i), data.label(first + i)) < k;
        }
        return {};
      }));
  result.median_ms = quantile(std::move(ms), 0.5);
  return result;
}

Result<SideBySide> run_side_by_side(Session& reference, Session& other, Dataset& data,
                                    const ProgressFn& progress) {
  SideBySide result;
  result.has_labels = data.has_labels();
  std::vector<double> ms[2];
  int64_t agreed = 0;
  double signal = 0, noise = 0;
  OCTAVO_TRY(for_each_feed(
      data, progress, [&](const NamedTensors& feeds, int64_t first, int64_t count) -> Status {
        Scores scores[2];
        Session* const sessions[] = {&reference, &other};
        for (size_t m = 0; m < 2; ++m) {
          OCTAVO_ASSIGN(const NamedTensors outputs, timed_run(*sessions[m], feeds, ms[m]));
          OCTAVO_ASSIGN(scores[m], output_scores(outputs, data.batch()));
        }
        if (scores[0].classes != scores[1].classes) {
          return fail(ErrorCode::kShapeMismatch, "the models' outputs have different sizes");
        }
        for (int64_t i = 0; i < count; ++i) {
          const auto a = scores[0].sample(i), b = scores[1].sample(i);
          agreed += best_class(a) == best_class(b);
          for (size_t c = 0; c < a.size(); ++c) {
            signal += a[c] * a[c];
            noise += (a[c] - b[c]) * (a[c] - b[c]);
          }
          ++result.samples;
          // Labels that are not classes only mean that there is no accuracy to report.
          if (!result.has_labels || !check_label(data, first + i, scores[0].classes)) {
            result.has_labels = false;
            continue;
          }
          for (size_t m = 0; m < 2; ++m) {
            ++result.top1[m].samples;
            result.top1[m].correct += rank_of(scores[m].sample(i), data.label(first + i)) < 1;
          }
        }
        return {};
      }));
  result.agreement =
      static_cast<double>(agreed) / static_cast<double>(std::max<int64_t>(result.samples, 1));
  result.sqnr_db = noise == 0    ? 200
                   : signal == 0 ? 0
                                 : std::min(200.0, 10 * std::log10(signal / noise));
  for (size_t m = 0; m < 2; ++m) result.median_ms[m] = quantile(std::move(ms[m]), 0.5);
  return result;
}

}  // namespace octavo
