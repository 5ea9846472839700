#include "runtime/ops/broadcast.h"

#include <algorithm>

#include "runtime/ops/move.h"

namespace octavo::ops {

Result<Broadcast> Broadcast::create(const TensorView& out, std::span<const TensorView> operands) {
  const int rank = out.shape.rank();
  if (operands.size() > kMaxOperands) return fail(ErrorCode::kInternal, "too many operands");

  // By logical dimension of the output; stride 0 where an operand is broadcast.
  std::array<Offsets, kMaxRank> logical{};
  for (size_t i = 0; i < operands.size(); ++i) {
    const Shape& shape = operands[i].shape;
    const auto strides = memory_strides(shape, operands[i].layout);
    const int lead = rank - shape.rank();
    bool fits = lead >= 0;
    for (int d = 0; fits && d < shape.rank(); ++d) {
      const int64_t dim = shape[d];
      fits = dim == out.shape[lead + d] || dim == 1;
      logical[static_cast<size_t>(lead + d)][i] = dim == 1 ? 0 : strides[static_cast<size_t>(d)];
    }
    if (!fits) {
      return fail(ErrorCode::kShapeMismatch, "shape ", shape.to_string(), " does not broadcast to ",
                  out.shape.to_string());
    }
  }

  Broadcast result;
  const bool channels_last = out.layout == Layout::kChannelsLast && rank >= 3;
  for (int p = 0; p < rank; ++p) {
    // The logical dimension stored at place p.
    const int d = !channels_last || p == 0 ? p : p == rank - 1 ? 1 : p + 1;
    const int64_t dim = out.shape[d];
    const Offsets& strides = logical[static_cast<size_t>(d)];
    if (dim == 1) continue;
    bool mergeable = !result.dims_.empty();
    for (size_t i = 0; mergeable && i < kMaxOperands; ++i) {
      mergeable = result.strides_.back()[i] == strides[i] * dim;
    }
    if (mergeable) {
      result.dims_.back() *= dim;
      result.strides_.back() = strides;
    } else {
      result.dims_.push_back(dim);
      result.strides_.push_back(strides);
    }
  }
  if (result.dims_.empty()) {
    result.dims_.push_back(1);
    result.strides_.push_back({});
  }
  result.rows_ = 1;
  for (size_t d = 0; d + 1 < result.dims_.size(); ++d) result.rows_ *= result.dims_[d];
  return result;
}

Broadcast::Cursor Broadcast::seek(int64_t row) const {
  Cursor cursor;
  for (size_t d = dims_.size() - 1; d-- > 0;) {
    const int64_t dim = std::max<int64_t>(dims_[d], 1);
    cursor.index[d] = row % dim;
    row /= dim;
    for (size_t i = 0; i < kMaxOperands; ++i) {
      cursor.offsets[i] += cursor.index[d] * strides_[d][i];
    }
  }
  return cursor;
}

void Broadcast::advance(Cursor& cursor) const {
  for (size_t d = dims_.size() - 1; d-- > 0;) {
    const bool carry = ++cursor.index[d] == dims_[d];
    const int64_t steps = carry ? 1 - dims_[d] : 1;
    for (size_t i = 0; i < kMaxOperands; ++i) cursor.offsets[i] += steps * strides_[d][i];
    if (!carry) return;
    cursor.index[d] = 0;
  }
}

}  // namespace octavo::ops
