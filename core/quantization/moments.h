// Second moments of what layers multiply by their weights, summed up while the calibration data
// stream by: from them follows the error that rounded weights cause in a layer's output.
#pragma once

#include <map>
#include <optional>

#include "runtime/session.h"

namespace octavo {

/// sum of x x^T and of x over rows x of a layer's input: a convolution's rows are the patches that
/// its output pixels read, in the order of its weights' axes.
struct Moments {
  size_t columns = 0;          // of a row: of one group
  size_t groups = 1;           // of a grouped convolution; each has rows and moments of its own
  std::vector<double> sums;    // groups x columns x columns
  std::vector<double> totals;  // groups x columns: sums of x
  int64_t rows = 0;

  std::span<const double> group(size_t g) const {
    return std::span(sums).subspan(g * columns * columns, columns * columns);
  }
  double diagonal(size_t i) const { return sums[i * columns + i]; }
  /// Column i of every group's rows is multiplied by factors[g * columns + i].
  void scale(std::span<const float> factors);
};

/// Products of float matrices by the runtime's kernels, whose results do not depend on threads.
class MatrixProduct {
 public:
  /// `b`: constant right-hand side (inner x columns); absent: run() is given one.
  static Result<MatrixProduct> create(std::optional<Tensor> b, SessionOptions options);
  /// a times b; the result is valid until the next call. `b` must be given if it is not constant.
  Result<std::span<const float>> run(const Tensor& a, const Tensor* b = nullptr);

 private:
  explicit MatrixProduct(Session session) : session_(std::move(session)) {}
  Session session_;
};

/// Where a layer's rows come from.
struct RowSource {
  ValueId value = kNoValue;
  int axis = -1;  // along which a row lies; -1: the last one
  /// A convolution and its weights' shape: rows are patches (axis is not used).
  std::optional<Node> conv = {};
  Shape weight = {};
};

/// Collects the moments of layers' rows. Of each sample at most kRows rows of a layer, spread
/// evenly over it.
class MomentsObserver final : public Observer {
 public:
  static constexpr int64_t kRows = 256;

  explicit MomentsObserver(SessionOptions options = {}) : options_(std::move(options)) {
    options_.max_plans = 32;  // as many shapes of layers
  }

  /// Returns the number by which moments() knows them.
  size_t watch(const RowSource& source);
  bool any() const { return !layers_.empty(); }
  /// nullptr if no rows were seen.
  const Moments* moments(size_t layer) const;
  /// Channel c of the value was multiplied by factors[c].
  void scale(ValueId value, std::span<const float> factors);

  bool wants(ValueId value) const override;
  Status on_value(ValueId value, const TensorView& tensor) override;

 private:
  struct Layer {
    RowSource source;
    Moments moments;
  };
  Status add(Layer& layer, const TensorView& tensor);
  Status add_rows(Moments& moments, const Tensor& rows);

  SessionOptions options_;
  std::vector<Layer> layers_;
  std::optional<MatrixProduct> product_;
};

}  // namespace octavo
