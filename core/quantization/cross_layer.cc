// Cross-layer equalization, as Nagel et al. 2019 ("Data-free quantization") have it, but with all
// three tensors that the factors change in view: the weights that compute the channels, the
// activation itself, and the weights that read it. Each has one scale, so that its rounding error
// is as large as its largest channel makes it. Factors u are chosen to make the error least that
// rounding causes in what the readers compute:
//
//   activation   max(u A)^2  / 255^2 * sum of I / u^2             A: largest magnitudes
//   made with    max(u R1)^2 / 127^2 * sum of E1 I / u^2          R1, R2: largest weights
//   read with    max(R2 / u)^2 / 127^2 * sum of u^2 e O           e: energies of the channels
//
//   Clip(0, hi)  12 * sum of I * E(top)                           top: max(u A)
//
// over channels, where I is what an error of the channel weighs in the readers' outputs, E1 the
// energy of the inputs that one output of the first layer sums up, and O the readers' outputs that
// an error of a weight reaches. The bound of a Clip becomes that of the channel that reaches
// farthest, so that others let through what the float network cuts off; E is the energy of that,
// estimated for normally distributed values from the share that is cut off.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/quantization/channel_groups.h"
#include "core/quantization/equalize.h"

namespace octavo {
namespace {

using Doubles = std::vector<double>;

constexpr ChannelGroupRules kRules{.dense_behind_activation = true, .clip_in_sums = true};
constexpr int kSweeps = 4;  // over the groups, which change each other's weights
// Channels smaller than this share of the largest are treated as if they had it.
constexpr double kFloor = 1e-3;

// fn(channel, weight) for each weight along `axis`.
template <class Fn>
void for_each_weight(const Value& weights, int axis, const Fn& fn) {
  const auto data = weights.constant.data<const float>();
  const auto inner = static_cast<size_t>(weights.shape.elements(axis + 1, weights.shape.rank()));
  const auto channels = static_cast<size_t>(weights.shape[axis]);
  for (size_t i = 0; i < data.size(); ++i) fn(i / inner % channels, data[i]);
}

Doubles magnitudes(const Value& weights, int axis) {
  Doubles largest(static_cast<size_t>(weights.shape[axis]), 0);
  for_each_weight(weights, axis, [&](size_t c, float w) {
    largest[c] = std::max(largest[c], std::fabs(static_cast<double>(w)));
  });
  return largest;
}

// Values no smaller than kFloor of the largest.
Doubles floored(Doubles values) {
  const double least = std::ranges::max(values) * kFloor;
  for (double& value : values) value = std::max(value, least);
  return values;
}

// max(u reach)^2 * sum of weight / u^2, or both with 1 / u instead of u.
struct Term {
  Doubles reach, weight;
  bool inverse = false;

  double cost(std::span<const double> u) const {
    double top = 0, sum = 0;
    for (size_t c = 0; c < u.size(); ++c) {
      const double factor = inverse ? 1 / u[c] : u[c];
      top = std::max(top, factor * reach[c]);
      sum += weight[c] / (factor * factor);
    }
    return top * top * sum;
  }
};

// Adam on log u over the terms with a smooth maximum, the p-norm, from `start`.
Doubles refine(std::span<const Term> terms, const Doubles& start) {
  constexpr int kSteps = 120;
  constexpr double kRate = 0.08, kMeanDecay = 0.9, kSquareDecay = 0.99;
  const size_t n = start.size();
  Doubles logs(n), gradient(n), mean(n, 0), square(n, 0), power(n), share(n);
  for (size_t c = 0; c < n; ++c) logs[c] = std::log(start[c]);
  for (int step = 1; step <= kSteps; ++step) {
    gradient.assign(n, 0);
    double total = 0;
    for (const Term& term : terms) {
      const double sign = term.inverse ? -1 : 1;
      double top = 0, powers = 0, sum = 0;
      for (size_t c = 0; c < n; ++c) {
        const double f = std::exp(sign * logs[c]);
        power[c] = f * term.reach[c];
        top = std::max(top, power[c]);
        share[c] = term.weight[c] / (f * f);
        sum += share[c];
      }
      for (double& x : power) {
        x /= top;
        for (int i = 0; i < 5; ++i) x *= x;  // p = 32
        powers += x;
      }
      const double cost = top * top * sum;
      total += cost;
      for (size_t c = 0; c < n; ++c) {
        gradient[c] += sign * 2 * cost * (power[c] / powers - share[c] / sum);
      }
    }
    const double rate = kRate * (1 - static_cast<double>(step - 1) / kSteps);
    for (size_t c = 0; c < n; ++c) {
      const double g = gradient[c] / total;
      mean[c] += (1 - kMeanDecay) * (g - mean[c]);
      square[c] += (1 - kSquareDecay) * (g * g - square[c]);
      const double unbiased = square[c] / (1 - std::pow(kSquareDecay, step));
      logs[c] -= rate * mean[c] / (1 - std::pow(kMeanDecay, step)) / (std::sqrt(unbiased) + 1e-12);
    }
  }
  for (double& x : logs) x = std::exp(x);
  return logs;
}

// What a channel lets through that its Clip cut off before.
class CutOff {
 public:
  /// `share` of the values lie at the bound.
  CutOff(double bound, double share) : z_(deviations(share)), scale_(bound / z_) {}

  /// Mean square with the bound `ratio` (>= 1) times as far away: the integral of (t - z)^2 from z
  /// to z ratio, and what lies beyond is cut off there.
  double energy(double ratio) const {
    const double a = z_, b = z_ * ratio, tail = beyond(b);
    const double inside = (beyond(a) - tail) * (1 + a * a) - b * density(b) + a * density(a) -
                          2 * a * (density(a) - density(b));
    return scale_ * scale_ * std::max(inside + (b - a) * (b - a) * tail, 0.0);
  }

 private:
  static double density(double t) {
    return std::exp(-t * t / 2) * (std::numbers::inv_sqrtpi / std::numbers::sqrt2);
  }
  static double beyond(double t) { return std::erfc(t / std::numbers::sqrt2) / 2; }
  // Standard deviations beyond which the share lies.
  static double deviations(double share) {
    double low = 0.25, high = 8;  // shares of 40 % and of next to none
    for (int i = 0; i < 40; ++i) {
      const double middle = (low + high) / 2;
      (beyond(middle) > share ? low : high) = middle;
    }
    return low;
  }

  double z_, scale_;
};

class Balance {
 public:
  Balance(const Graph& graph, const ChannelGroup& group, const ChannelStats& stats)
      : graph_(graph), group_(group), stats_(stats) {}

  // False if the statistics are not known.
  bool prepare() {
    const auto channels = static_cast<size_t>(group_.channels);
    importance_.assign(channels, 0);
    for (const NodeId n : group_.consumers) add_importance(graph_.node(n));
    importance_ = floored(importance_);
    for (const ValueId value : group_.values) {
      const auto ranges = stats_.ranges(value);
      if (ranges.empty()) continue;  // read by sums only
      if (ranges.size() != channels) return false;
      add_activation(ranges);
      highest_.resize(channels, 0);
      const Doubles share = stats_.cut_off(value);
      for (size_t c = 0; c < channels; ++c) {
        const double high = ranges[c].max;
        highest_[c] = std::max(highest_[c], high);
        if (share[c] > 0 && high > 0) cut_.push_back({c, high, CutOff(high, share[c])});
      }
    }
    for (const NodeId n : group_.producers) {
      if (!add_producer(graph_.node(n))) return false;
    }
    for (const NodeId n : group_.consumers) {
      if (!add_consumer(graph_.node(n))) return false;
    }
    return !reach_.empty();
  }

  Doubles best() const {
    const auto channels = static_cast<size_t>(group_.channels);
    Doubles best(channels, 1);
    double least = cost(best);
    const double before = least;
    // Powers of the three tensors' reaches: Nagel's factors and flat activations are among them.
    constexpr double kPowers[] = {0, 0.25, 0.5, 0.75, 1};
    Doubles u(channels);
    for (const double a : kPowers) {
      for (const double b : kPowers) {
        for (const double c : kPowers) {
          for (size_t i = 0; i < channels; ++i) {
            u[i] = std::pow(reach_[i], -a) * std::pow(made_[i], -b) * std::pow(read_[i], c);
          }
          keep_better(u, best, least);
        }
      }
    }
    keep_better(refine(terms_, best), best, least);
    // The channels that lose most by it are cut off exactly where they were.
    std::vector<size_t> order(cut_.size());
    std::iota(order.begin(), order.end(), 0);
    const auto loss = [&](size_t i) {
      return importance_[cut_[i].channel] * cut_[i].cut.energy(1e3);
    };
    std::ranges::sort(order, std::greater<>(), loss);
    const Doubles start = best;
    for (size_t count = order.size(); count > 0; count /= 2) {
      u = start;
      const double top = top_of(u);
      for (size_t i = 0; i < count; ++i) {
        const Cut& cut = cut_[order[i]];
        u[cut.channel] = top / cut.bound;
      }
      keep_better(u, best, least);
    }
    constexpr double kWorthwhile = 0.98;
    if (!(least < kWorthwhile * before)) return {};
    // The geometric mean stays: a common factor changes nothing.
    double logs = 0;
    for (const double factor : best) logs += std::log(factor);
    for (double& factor : best) factor /= std::exp(logs / static_cast<double>(channels));
    return best;
  }

 private:
  struct Cut {
    size_t channel;
    double bound;
    CutOff cut;
  };

  void keep_better(const Doubles& u, Doubles& best, double& least) const {
    const double found = cost(u);
    if (found >= least) return;
    least = found;
    best = u;
  }
  // The bound that a Clip behind the group's producers gets.
  double top_of(std::span<const double> u) const {
    double top = 0;
    for (size_t c = 0; c < u.size(); ++c) top = std::max(top, u[c] * highest_[c]);
    return top;
  }

  int input_axis(const Node& node) const { return is_depthwise_consumer(node, group_) ? 0 : 1; }
  const Value& weights(const Node& node) const { return graph_.value(node.inputs[1]); }
  static double kernel(const Value& w) {
    return static_cast<double>(w.shape.elements(2, w.shape.rank()));
  }

  // Squares of the weights that read each channel of a value, in layers that mix channels; ones
  // where there are none.
  Doubles mixed_importance(ValueId value, size_t channels) const {
    Doubles sums(channels, 0);
    bool any = false;
    for (const Node& node : graph_.nodes) {
      if (node.kind != OpKind::kConv || node.inputs[0] != value || node.get_int("group") != 1) {
        continue;
      }
      const Value& w = weights(node);
      if (!w.constant.present() || w.shape[1] != static_cast<int64_t>(channels)) continue;
      for_each_weight(w, 1, [&](size_t c, float x) { sums[c] += static_cast<double>(x) * x; });
      any = true;
    }
    if (!any) sums.assign(channels, 1);
    return sums;
  }

  void add_importance(const Node& node) {
    const Value& w = weights(node);
    Doubles squares(importance_.size(), 0);
    for_each_weight(w, input_axis(node),
                    [&](size_t c, float x) { squares[c] += static_cast<double>(x) * x; });
    if (is_depthwise_consumer(node, group_)) {
      const Doubles next = mixed_importance(node.outputs[0], squares.size());
      for (size_t c = 0; c < squares.size(); ++c) squares[c] *= next[c];
    }
    for (size_t c = 0; c < squares.size(); ++c) importance_[c] += squares[c];
  }

  void add_activation(std::span<const Range> ranges) {
    Term term{.weight = importance_};
    double low = 0;
    for (const Range& range : ranges) {
      low = std::min<double>(low, range.min);
      term.reach.push_back(std::max(std::fabs(range.min), std::fabs(range.max)));
    }
    term.reach = floored(term.reach);
    if (reach_.empty()) reach_.assign(ranges.size(), 0);
    for (size_t c = 0; c < ranges.size(); ++c) reach_[c] = std::max(reach_[c], term.reach[c]);
    const double levels = low < 0 ? 127 : 255;
    for (double& reach : term.reach) reach /= levels;
    terms_.push_back(std::move(term));
  }

  bool add_producer(const Node& node) {
    const Value& w = weights(node);
    const Doubles energy = stats_.energy(node.inputs[0]);
    if (energy.empty()) return false;
    const bool depthwise = node.get_int("group") == group_.channels && w.shape[1] == 1;
    double sum = 0;
    for (const double e : energy) sum += e;
    sum /= static_cast<double>(node.get_int("group"));
    Term term{.reach = floored(magnitudes(w, 0)), .weight = importance_};
    for (size_t c = 0; c < term.weight.size(); ++c) {
      const bool own = depthwise && energy.size() == term.weight.size();
      term.weight[c] *= kernel(w) * (own ? energy[c] : sum);
    }
    merge(made_, term.reach);
    for (double& reach : term.reach) reach /= 127;
    terms_.push_back(std::move(term));
    return true;
  }

  bool add_consumer(const Node& node) {
    const Value& w = weights(node);
    Doubles energy = stats_.energy(node.inputs[0]);
    if (energy.size() != importance_.size()) return false;
    Term term{.reach = floored(magnitudes(w, input_axis(node))),
              .weight = floored(std::move(energy)),
              .inverse = true};
    const Doubles next = is_depthwise_consumer(node, group_)
                             ? mixed_importance(node.outputs[0], term.weight.size())
                             : Doubles(term.weight.size(), static_cast<double>(w.shape[0]));
    for (size_t c = 0; c < term.weight.size(); ++c) term.weight[c] *= kernel(w) * next[c];
    merge(read_, term.reach);
    for (double& reach : term.reach) reach /= 127;
    terms_.push_back(std::move(term));
    return true;
  }

  static void merge(Doubles& into, const Doubles& reach) {
    into.resize(reach.size(), 0);
    for (size_t c = 0; c < reach.size(); ++c) into[c] = std::max(into[c], reach[c]);
  }

  double cost(std::span<const double> u) const {
    double sum = 0;
    for (const Term& term : terms_) sum += term.cost(u);
    if (cut_.empty()) return sum;
    const double top = top_of(u);
    for (const Cut& cut : cut_) {
      const double ratio = top / (u[cut.channel] * cut.bound);
      if (ratio > 1 + 1e-6) sum += 12 * importance_[cut.channel] * cut.cut.energy(ratio);
    }
    return sum;
  }

  const Graph& graph_;
  const ChannelGroup& group_;
  const ChannelStats& stats_;
  Doubles importance_;
  Doubles reach_, made_, read_;  // of the activation and of the weights on both sides
  std::vector<Term> terms_;
  Doubles highest_;  // largest value of each channel
  std::vector<Cut> cut_;
};

// Clip(0, hi) then cuts where the channel that reaches farthest was cut.
void move_clips(Graph& graph, const ChannelGroup& group, const ChannelStats& stats) {
  float top = 0;
  for (const ValueId value : group.values) {
    for (const Range& range : stats.ranges(value)) top = std::max(top, range.max);
  }
  for (const NodeId n : group.producers) {
    Node& node = graph.nodes[static_cast<size_t>(n)];
    if (node.get_string("activation") != "Clip") continue;
    node.set("activation_params", std::vector<float>{0, top});
  }
}

}  // namespace

Status equalize_layers(Graph& graph, const Annotation& annotation, ChannelStats& stats) {
  const std::vector<ChannelGroup> groups = find_channel_groups(graph, annotation, kRules);
  std::vector<bool> changed(groups.size(), false);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t g = 0; g < groups.size(); ++g) {
      Balance balance(graph, groups[g], stats);
      if (!balance.prepare()) continue;
      const Doubles best = balance.best();
      if (best.empty()) continue;
      const std::vector<float> factors(best.begin(), best.end());
      OCTAVO_TRY(scale_channels(graph, groups[g], factors));
      for (const ValueId value : groups[g].values) stats.scale(value, factors);
      changed[g] = true;
    }
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!changed[g]) continue;
    move_clips(graph, groups[g], stats);
    rename_values(graph, groups[g]);
  }
  return {};
}

}  // namespace octavo
