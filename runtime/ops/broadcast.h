// Walks the operands of an elementwise operator together, row by row.
#pragma once

#include "runtime/op.h"

namespace octavo::ops {

/// The output's elements in storage order, cut into rows along which every operand has one stride.
/// Adjacent dimensions that all operands walk alike are merged, so that equal shapes make one row
/// and a broadcast over a trailing or leading dimension makes few.
class Broadcast {
 public:
  static constexpr size_t kMaxOperands = 3;
  using Offsets = std::array<int64_t, kMaxOperands>;  // in elements

  /// Each operand must broadcast to out's shape (ranks may differ, layouts too).
  static Result<Broadcast> create(const TensorView& out, std::span<const TensorView> operands);

  /// Of operand i along a row, in elements; 0: one element for the whole row.
  int64_t stride(size_t i) const { return strides_.back()[i]; }

  /// Calls fn(offsets, out_offset, count) for each row; long rows are cut for the threads.
  template <class Fn>
  void run(ThreadPool* pool, const Fn& fn) const {
    constexpr int64_t kGrain = 16384;
    const int64_t length = dims_.back();
    if (rows_ == 0 || length == 0) return;
    if (rows_ == 1) {
      parallel_for(pool, length, kGrain, [&](int64_t begin, int64_t end) {
        Offsets offsets{};
        for (size_t i = 0; i < kMaxOperands; ++i) offsets[i] = begin * stride(i);
        fn(offsets, begin, end - begin);
      });
      return;
    }
    parallel_for(pool, rows_, kGrain / length + 1,
                 [&](int64_t begin, int64_t end) { walk(begin, end, fn); });
  }

  /// run() on the calling thread, rows in order.
  template <class Fn>
  void run_in_order(const Fn& fn) const {
    if (dims_.back() > 0) walk(0, rows_, fn);
  }

 private:
  struct Cursor {
    std::array<int64_t, kMaxRank> index{};
    Offsets offsets{};
  };
  Cursor seek(int64_t row) const;
  void advance(Cursor& cursor) const;
  template <class Fn>
  void walk(int64_t begin, int64_t end, const Fn& fn) const {
    Cursor cursor = seek(begin);
    for (int64_t row = begin; row < end; ++row) {
      fn(cursor.offsets, row * dims_.back(), dims_.back());
      advance(cursor);
    }
  }

  std::vector<int64_t> dims_;     // the last one is the row
  std::vector<Offsets> strides_;  // by dimension
  int64_t rows_ = 0;
};

}  // namespace octavo::ops
