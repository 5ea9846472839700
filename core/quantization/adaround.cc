#include "core/quantization/adaround.h"

#include <algorithm>
#include <cmath>

#include "runtime/kernels/rounding.h"
#include "runtime/parallel.h"

namespace octavo {
namespace {

class Rounding {
 public:
  Rounding(const RoundingProblem& problem, size_t groups, const AdaRoundOptions& options,
           ThreadPool* pool)
      : p_(problem), groups_(groups), options_(options), pool_(pool) {}

  Status prepare(const Moments& moments, bool centred, const SessionOptions& session) {
    const size_t n = p_.columns;
    // To float, of the order of 1.
    double diagonal = 0;
    const auto rows = static_cast<double>(moments.rows);
    // Few rows make inputs seem to go together that do not.
    const double trust = rows / (rows + static_cast<double>(n));
    const auto moment = [&](size_t g, size_t i, size_t j) {
      const double mean = moments.sums[(g * n + i) * n + j] / rows;
      return centred ? mean - moments.totals[g * n + i] / rows * (moments.totals[g * n + j] / rows)
                     : mean;
    };
    for (size_t g = 0; g < groups_; ++g) {
      for (size_t i = 0; i < n; ++i) diagonal += std::max(moment(g, i, i), 0.0);
    }
    const double unit = diagonal > 0 ? static_cast<double>(groups_ * n) / diagonal : 1;
    // An input that is always the same leaves its weights free: they stay at the nearest.
    constexpr double kDamping = 1e-4;
    for (size_t g = 0; g < groups_; ++g) {
      OCTAVO_ASSIGN(Tensor m, Tensor::create(DType::kF32, Shape{static_cast<int64_t>(n),
                                                                static_cast<int64_t>(n)}));
      const auto to = m.data<float>();
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
          to[i * n + j] = static_cast<float>(moment(g, i, j) * unit * (i == j ? 1 : trust));
        }
        to[i * n + i] = std::max(to[i * n + i], 0.0f) + static_cast<float>(kDamping);
      }
      moments_.push_back(m);
    }
    if (groups_ == 1) {
      OCTAVO_ASSIGN(product_, MatrixProduct::create(moments_[0], session));
    }
    OCTAVO_ASSIGN(error_, Tensor::create(DType::kF32, Shape{static_cast<int64_t>(p_.rows),
                                                            static_cast<int64_t>(n)}));
    OCTAVO_ASSIGN(gradient_, Tensor::create(DType::kF32, error_.shape()));
    norm_.resize(p_.rows);
    for (size_t r = 0; r < p_.rows; ++r) {
      const auto m = moments_[group_of(r)].data<const float>();
      double sum = 0;
      for (size_t i = 0; i < n; ++i) {
        const double step = p_.step[r * n + i];
        sum += step * step * m[i * n + i];
      }
      norm_[r] = sum > 0 ? static_cast<float>(static_cast<double>(n) / sum) : 0;
    }
    return {};
  }

  Result<std::vector<int>> run(Work* work) {
    const size_t count = p_.rows * p_.columns;
    share_.resize(count);
    v_.resize(count);
    mean_.assign(count, 0);
    square_.assign(count, 0);
    for (size_t i = 0; i < count; ++i) {
      // h(V) is the part that rounding down loses.
      const float part = p_.position[i] - std::floor(p_.position[i]);
      const double s = (part - kernels::kRoundingShift) / kernels::kRoundingStretch;
      v_[i] = static_cast<float>(std::log(s / (1 - s)));
    }
    const auto warm = static_cast<int64_t>(options_.warm_up * static_cast<double>(options_.iters));
    for (int64_t step = 0; step < options_.iters; ++step) {
      soft_errors();
      OCTAVO_TRY(multiply());
      float beta = 0;
      if (step >= warm) {
        const double done = static_cast<double>(step - warm) /
                            static_cast<double>(std::max<int64_t>(options_.iters - warm, 1));
        beta = static_cast<float>(options_.beta_end +
                                  (options_.beta_start - options_.beta_end) * (1 - done));
      }
      advance(beta);
      if (work != nullptr) OCTAVO_TRY(work->step());
    }
    return choose();
  }

 private:
  size_t group_of(size_t row) const { return row / (p_.rows / groups_); }

  float clamped(float q) const {
    return std::clamp(q, static_cast<float>(p_.low), static_cast<float>(p_.high));
  }

  // Rows that are worth a thread, at `work` multiplications a weight.
  int64_t rows_for(size_t work) const {
    constexpr size_t kWorthwhile = 1 << 16;
    return static_cast<int64_t>(1 + kWorthwhile / (p_.columns * work));
  }
  // fn(begin, end) over ranges of weights, on the pool's threads.
  template <class Fn>
  void for_weights(const Fn& fn) {
    parallel_for(
        pool_, static_cast<int64_t>(p_.rows), rows_for(1), [&](int64_t begin, int64_t end) {
          fn(static_cast<size_t>(begin) * p_.columns, static_cast<size_t>(end) * p_.columns);
        });
  }
  void soft_errors() {
    float* to = error_.data<float>().data();
    for_weights([&](size_t begin, size_t end) {
      kernels::rounding_errors(p_.position.data() + begin, p_.step.data() + begin,
                               v_.data() + begin, static_cast<float>(p_.low),
                               static_cast<float>(p_.high), end - begin, share_.data() + begin,
                               to + begin);
    });
  }
  template <class Up>
  void hard_errors(const Up& up) {
    float* to = error_.data<float>().data();
    for (size_t i = 0; i < v_.size(); ++i) {
      const float q = clamped(std::floor(p_.position[i]) + up(i));
      to[i] = (q - p_.position[i]) * p_.step[i];
    }
  }

  // gradient_ = error_ * moments.
  Status multiply() {
    if (product_) {
      OCTAVO_ASSIGN(const auto made, product_->run(error_));
      std::ranges::copy(made, gradient_.data<float>().begin());
      return {};
    }
    const size_t n = p_.columns;
    const float* e = error_.data<const float>().data();
    float* to = gradient_.data<float>().data();
    parallel_for(pool_, static_cast<int64_t>(p_.rows), rows_for(n),
                 [&](int64_t begin, int64_t end) {
                   for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
                     const float* m = moments_[group_of(r)].data<const float>().data();
                     float* out = to + r * n;
                     std::fill_n(out, n, 0.0f);
                     for (size_t i = 0; i < n; ++i) {
                       for (size_t j = 0; j < n; ++j) out[j] += e[r * n + i] * m[i * n + j];
                     }
                   }
                 });
    return {};
  }

  // A step of Adam; beta 0: without the regularizer.
  void advance(float beta) {
    // Powers by products: the same on every machine.
    decayed_ *= kernels::kAdamDecay;
    square_decayed_ *= kernels::kAdamSquareDecay;
    const kernels::RoundingStep how{.factor = 0,
                                    .reg = static_cast<float>(options_.reg),
                                    .beta = beta,
                                    .lr = static_cast<float>(options_.lr),
                                    .unbias = 1 / (1 - decayed_),
                                    .square_unbias = 1 / (1 - square_decayed_)};
    const float* product = gradient_.data<const float>().data();
    const size_t n = p_.columns;
    for_weights([&](size_t begin, size_t end) {
      kernels::RoundingStep of_row = how;
      for (size_t i = begin; i < end; i += n) {
        of_row.factor = 2 * norm_[i / n];
        kernels::rounding_step(of_row, product + i, p_.step.data() + i, share_.data() + i, n,
                               v_.data() + i, mean_.data() + i, square_.data() + i);
      }
    });
  }

  // error^T moments error of each row, of the errors at hand.
  Result<std::vector<double>> costs() {
    OCTAVO_TRY(multiply());
    const auto e = error_.data<const float>();
    const auto product = gradient_.data<const float>();
    std::vector<double> sums(p_.rows, 0);
    for (size_t i = 0; i < e.size(); ++i) {
      sums[i / p_.columns] += static_cast<double>(e[i]) * product[i];
    }
    return sums;
  }

  Result<std::vector<int>> choose() {
    const auto learned = [&](size_t i) { return v_[i] >= 0 ? 1.0f : 0.0f; };  // h >= 1/2
    const auto nearest = [&](size_t i) {
      return std::nearbyint(p_.position[i]) - std::floor(p_.position[i]);
    };
    hard_errors(learned);
    OCTAVO_ASSIGN(const std::vector<double> of_learned, costs());
    hard_errors(nearest);
    OCTAVO_ASSIGN(const std::vector<double> of_nearest, costs());
    std::vector<int> made(v_.size());
    for (size_t i = 0; i < made.size(); ++i) {
      const size_t row = i / p_.columns;
      const float up = of_learned[row] < of_nearest[row] ? learned(i) : nearest(i);
      made[i] = static_cast<int>(clamped(std::floor(p_.position[i]) + up));
    }
    return made;
  }

  const RoundingProblem& p_;
  const size_t groups_;
  const AdaRoundOptions& options_;
  ThreadPool* pool_;
  std::vector<Tensor> moments_;  // of each group
  std::optional<MatrixProduct> product_;
  std::vector<float> norm_;  // by row
  Tensor error_, gradient_;
  std::vector<float> v_, share_, mean_, square_;  // share_: sigmoid(v_)
  float decayed_ = 1, square_decayed_ = 1;
};

}  // namespace

Result<std::vector<int>> adaround(const RoundingProblem& problem, const Moments& moments,
                                  bool centred, const AdaRoundOptions& options,
                                  const SessionOptions& session, Work* work) {
  if (problem.columns != moments.columns || moments.groups == 0 ||
      problem.rows % moments.groups != 0 || moments.rows == 0) {
    return fail(ErrorCode::kInternal, "moments of ", moments.groups, " x ", moments.columns,
                " inputs are not those of ", problem.rows, " x ", problem.columns, " weights");
  }
  Rounding rounding(problem, moments.groups, options, session.pool.get());
  OCTAVO_TRY(rounding.prepare(moments, centred, session));
  return rounding.run(work);
}

}  // namespace octavo
