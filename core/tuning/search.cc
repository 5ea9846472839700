// Searches over the settings of every single operator.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/tuning/strategy.h"

namespace octavo {
namespace {

using Point = std::vector<size_t>;  // the choice of each operator

constexpr size_t kStartupTrials = 10;  // random ones, before tpe and bayesian use what they know
constexpr int kTpeCandidates = 24;
constexpr double kTpeGood = 0.25;  // share of trials whose settings are preferred
constexpr int kBayesianCandidates = 500;

struct Observation {
  Point point;
  double value = 0;  // accuracy, higher is better
};

class Search : public Strategy {
 public:
  Search(SearchKind kind, uint64_t seed) : kind_(kind), random_(seed) {}

  Result<std::optional<Candidate>> next(TuningContext& context) override {
    if (!begun_) begin(context);
    if (ops_.empty()) return std::nullopt;
    for (int attempt = 0; attempt < 200; ++attempt) {
      Point point;
      switch (kind_) {
        case SearchKind::kExhaustive:
          if (!count_up(point)) return std::nullopt;
          break;
        case SearchKind::kRandom: point = random_point(); break;
        case SearchKind::kTpe: point = tpe_point(); break;
        case SearchKind::kBayesian: point = bayesian_point(); break;
      }
      if (std::ranges::contains(seen_, point)) continue;
      seen_.push_back(point);
      Recipe recipe = base_;
      size_t changed = 0;
      std::string which;
      for (size_t i = 0; i < ops_.size(); ++i) {
        if (point[i] == 0) continue;
        recipe = with_choice(std::move(recipe), ops_[i], choices_[point[i]]);
        ++changed;
        which = ops_[i];
      }
      return Candidate{std::move(recipe), "operators",
                       changed == 0   ? "default"
                       : changed == 1 ? concat("other options for ", which)
                                      : concat("other options for ", changed, " of ", ops_.size(),
                                               " operators")};
    }
    return std::nullopt;  // next to nothing is left to try
  }
  void report(TuningContext& context, const TrialRecord& record) override {
    if (!record.ok()) return;
    observations_.push_back(
        {seen_.back(), context.config.higher_is_better ? record.accuracy : -record.accuracy});
  }

 private:
  void begin(const TuningContext& context) {
    begun_ = true;
    base_ = default_recipe(context.config);
    for (const TunableOp& op : context.ops) {
      if (op.computes) ops_.push_back(op.name);
    }
    // 2.x's Bayesian strategy varies how operators are quantized, not whether.
    choices_ = op_choices(kind_ != SearchKind::kBayesian);
    counter_.assign(ops_.size(), 0);
  }

  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

  Point random_point() {
    Point point(ops_.size());
    for (size_t& choice : point) choice = below(choices_.size());
    return point;
  }

  // The last operator varies fastest.
  bool count_up(Point& point) {
    if (finished_) return false;
    point = counter_;
    size_t i = counter_.size();
    while (i > 0 && ++counter_[i - 1] == choices_.size()) counter_[--i] = 0;
    finished_ = i == 0;
    return true;
  }

  // Tree-structured Parzen estimator: of candidates drawn like the good trials, the one that is
  // likeliest there against among the others.
  Point tpe_point() {
    if (observations_.size() < kStartupTrials) return random_point();
    std::vector<Observation> sorted = observations_;
    std::ranges::stable_sort(sorted, std::greater<>(), &Observation::value);
    const size_t good =
        std::max<size_t>(2, static_cast<size_t>(kTpeGood * static_cast<double>(sorted.size())));
    const size_t k = choices_.size();
    std::vector<std::vector<double>> of_good(ops_.size(), std::vector<double>(k, 1.0)),
        of_bad = of_good;
    for (size_t t = 0; t < sorted.size(); ++t) {
      auto& counts = t < good ? of_good : of_bad;
      for (size_t i = 0; i < ops_.size(); ++i) ++counts[i][sorted[t].point[i]];
    }
    Point best;
    double best_score = 0;
    for (int c = 0; c < kTpeCandidates; ++c) {
      Point point(ops_.size());
      double score = 0;
      for (size_t i = 0; i < ops_.size(); ++i) {
        const double all = std::accumulate(of_good[i].begin(), of_good[i].end(), 0.0);
        double left = uniform() * all;
        size_t choice = 0;
        while (choice + 1 < k && left >= of_good[i][choice]) left -= of_good[i][choice++];
        point[i] = choice;
        const double all_bad = std::accumulate(of_bad[i].begin(), of_bad[i].end(), 0.0);
        score += std::log(of_good[i][choice] / all) - std::log(of_bad[i][choice] / all_bad);
      }
      if (best.empty() || score > best_score) {
        best = std::move(point);
        best_score = score;
      }
    }
    return best;
  }

  // Gaussian process with kernel exp(-d / ops), d the number of operators that differ: choices have
  // no order. Of random candidates and neighbours of the best, the largest expected improvement.
  Point bayesian_point() {
    if (observations_.size() < kStartupTrials) return random_point();
    const size_t n = observations_.size();
    const auto kernel = [&](const Point& a, const Point& b) {
      size_t differ = 0;
      for (size_t i = 0; i < a.size(); ++i) differ += a[i] != b[i];
      return std::exp(-static_cast<double>(differ) / static_cast<double>(a.size()) * 3);
    };
    double mean = 0, variance = 0, best_value = observations_[0].value;
    const Observation* best = observations_.data();
    for (const Observation& o : observations_) {
      mean += o.value / static_cast<double>(n);
      if (o.value > best_value) {
        best_value = o.value;
        best = &o;
      }
    }
    for (const Observation& o : observations_) {
      variance += (o.value - mean) * (o.value - mean) / static_cast<double>(n);
    }
    const double deviation = variance > 0 ? std::sqrt(variance) : 1;
    // K + noise = L L'; weights = K^-1 y.
    std::vector<double> l(n * n, 0), y(n);
    for (size_t i = 0; i < n; ++i) {
      y[i] = (observations_[i].value - mean) / deviation;
      for (size_t j = 0; j <= i; ++j) {
        double sum = kernel(observations_[i].point, observations_[j].point) + (i == j ? 1e-4 : 0);
        for (size_t m = 0; m < j; ++m) sum -= l[i * n + m] * l[j * n + m];
        l[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / l[j * n + j];
      }
    }
    const auto solve_lower = [&](std::vector<double> b) {
      for (size_t i = 0; i < n; ++i) {
        for (size_t m = 0; m < i; ++m) b[i] -= l[i * n + m] * b[m];
        b[i] /= l[i * n + i];
      }
      return b;
    };
    const std::vector<double> z = solve_lower(y);
    const double target = (best_value - mean) / deviation;
    Point chosen;
    double chosen_gain = -1;
    for (int c = 0; c < kBayesianCandidates; ++c) {
      Point point = c % 2 == 0 ? random_point() : best->point;
      if (c % 2 == 1) {
        for (int change = 0; change < 1 + c % 3; ++change) {
          point[below(point.size())] = below(choices_.size());
        }
      }
      if (std::ranges::contains(seen_, point)) continue;
      std::vector<double> k(n);
      for (size_t i = 0; i < n; ++i) k[i] = kernel(point, observations_[i].point);
      const std::vector<double> v = solve_lower(k);
      const double expected = std::inner_product(v.begin(), v.end(), z.begin(), 0.0);
      const double spread =
          std::sqrt(std::max(1 - std::inner_product(v.begin(), v.end(), v.begin(), 0.0), 1e-12));
      const double u = (expected - target) / spread;
      const double density = std::exp(-u * u / 2) / std::sqrt(2 * std::numbers::pi);
      const double gain = spread * (u * 0.5 * std::erfc(-u / std::numbers::sqrt2) + density);
      if (gain > chosen_gain) {
        chosen = std::move(point);
        chosen_gain = gain;
      }
    }
    return chosen.empty() ? random_point() : chosen;
  }

  SearchKind kind_;
  std::mt19937_64 random_;
  bool begun_ = false, finished_ = false;
  Recipe base_;
  std::vector<std::string> ops_;
  std::vector<OpChoice> choices_;
  Point counter_;
  std::vector<Point> seen_;
  std::vector<Observation> observations_;
};

}  // namespace

std::unique_ptr<Strategy> make_search(SearchKind kind, uint64_t seed) {
  return std::make_unique<Search>(kind, seed);
}

}  // namespace octavo
