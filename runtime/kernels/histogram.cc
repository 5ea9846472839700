#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/histogram.cc"
#include "runtime/kernels/histogram.h"

#include <algorithm>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

Extent find_extent(const float* HWY_RESTRICT data, size_t count) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const size_t lanes = hn::Lanes(df);
  const auto sign = hn::Set(du, 0x7FFFFFFFu);
  auto low0 = hn::Set(df, data[0]), high0 = low0, low1 = low0, high1 = low0;
  auto bits0 = hn::Zero(du), bits1 = bits0;
  size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto a = hn::LoadU(df, data + i), b = hn::LoadU(df, data + i + lanes);
    low0 = hn::Min(low0, a);
    high0 = hn::Max(high0, a);
    bits0 = hn::Max(bits0, hn::And(hn::BitCast(du, a), sign));
    low1 = hn::Min(low1, b);
    high1 = hn::Max(high1, b);
    bits1 = hn::Max(bits1, hn::And(hn::BitCast(du, b), sign));
  }
  for (; i < count; ++i) {
    const auto a = hn::Set(df, data[i]);
    low0 = hn::Min(low0, a);
    high0 = hn::Max(high0, a);
    bits0 = hn::Max(bits0, hn::And(hn::BitCast(du, a), sign));
  }
  return {hn::ReduceMin(df, hn::Min(low0, low1)), hn::ReduceMax(df, hn::Max(high0, high1)),
          hn::ReduceMax(du, hn::Max(bits0, bits1))};
}

uint32_t widen_columns(const float* HWY_RESTRICT data, size_t rows, size_t columns,
                       float* HWY_RESTRICT low, float* HWY_RESTRICT high) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const size_t lanes = hn::Lanes(df);
  const auto sign = hn::Set(du, 0x7FFFFFFFu);
  auto bits = hn::Zero(du);
  // Rows one after another, four at a time: the bounds stay in L1, the data come in order.
  const auto widen = [&](size_t r, size_t count) HWY_ATTR {
    for (size_t c = 0; c < columns; c += lanes) {
      const size_t here = std::min(lanes, columns - c);
      auto lo = hn::LoadN(df, low + c, here), hi = hn::LoadN(df, high + c, here);
      for (size_t i = 0; i < count; ++i) {
        const float* from = data + (r + i) * columns + c;
        const auto x = here == lanes ? hn::LoadU(df, from) : hn::LoadN(df, from, here);
        lo = hn::Min(lo, x);
        hi = hn::Max(hi, x);
        bits = hn::Max(bits, hn::And(hn::BitCast(du, x), sign));
      }
      hn::StoreN(lo, df, low + c, here);
      hn::StoreN(hi, df, high + c, here);
    }
  };
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) widen(r, 4);
  if (r < rows) widen(r, rows - r);
  return hn::ReduceMax(du, bits);
}

void move_counts(uint32_t* HWY_RESTRICT counts, size_t size, int64_t* HWY_RESTRICT sums,
                 int shift) {
  const hn::ScalableTag<int64_t> d64;
  const hn::RebindToUnsigned<decltype(d64)> du64;
  const hn::Rebind<uint32_t, decltype(d64)> d32;
  const size_t lanes = hn::Lanes(d64);
  const auto add = [&](auto more, int64_t* to) HWY_ATTR {
    const auto wide = hn::BitCast(d64, hn::PromoteTo(du64, more));
    hn::StoreU(hn::Add(hn::LoadU(d64, to), wide), d64, to);
  };
  const auto zero = hn::Zero(d32);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    uint32_t* from = counts + (i << shift);
    if (shift == 0) {
      add(hn::LoadU(d32, from), sums + i);
    } else {
      auto even = zero, odd = zero;
      hn::LoadInterleaved2(d32, from, even, odd);
      add(hn::Add(even, odd), sums + i);
      hn::StoreU(zero, d32, from + lanes);
    }
    hn::StoreU(zero, d32, from);
  }
  for (i <<= shift; i < size << shift; ++i) {
    sums[i >> shift] += counts[i];
    counts[i] = 0;
  }
}

// In float32 over blocks of rows, downwards, so that lanes do not mix.
void sum_columns(const float* HWY_RESTRICT data, size_t rows, size_t columns, float bound,
                 double* HWY_RESTRICT sum, double* HWY_RESTRICT squares,
                 double* HWY_RESTRICT reaching) {
  const hn::ScalableTag<float> df;
  const size_t lanes = hn::Lanes(df);
  const auto limit = hn::Set(df, bound), one = hn::Set(df, 1.0f);
  constexpr size_t kRows = 32;
  HWY_ALIGN float sums[hn::MaxLanes(df)], powers[hn::MaxLanes(df)], counts[hn::MaxLanes(df)];
  for (size_t r0 = 0; r0 < rows; r0 += kRows) {
    const float* block = data + r0 * columns;
    const size_t block_rows = std::min(kRows, rows - r0);
    for (size_t c = 0; c < columns; c += lanes) {
      const size_t here = std::min(lanes, columns - c);
      auto s = hn::Zero(df), q = s, n = s;
      for (size_t r = 0; r < block_rows; ++r) {
        const float* from = block + r * columns + c;
        const auto x = here == lanes ? hn::LoadU(df, from) : hn::LoadN(df, from, here);
        s = hn::Add(s, x);
        q = hn::Add(q, hn::Mul(x, x));
        n = hn::Add(n, hn::IfThenElseZero(hn::Ge(x, limit), one));
      }
      hn::Store(s, df, sums);
      hn::Store(q, df, powers);
      hn::Store(n, df, counts);
      for (size_t lane = 0; lane < here; ++lane) {
        sum[c + lane] += sums[lane];
        squares[c + lane] += powers[lane];
        reaching[c + lane] += counts[lane];
      }
    }
  }
}

// The bins of a block are computed first, without those of bin 0: in the many tensors behind a Relu
// that is half of the elements, and adding to one counter again and again is slow.
void count_bins(const float* HWY_RESTRICT data, size_t count, float inverse_width,
                uint32_t* HWY_RESTRICT zero_bin) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> di;
  const size_t lanes = hn::Lanes(df);
  const auto scale = hn::Set(df, inverse_width);
  constexpr size_t kBlock = 1024;
  HWY_ALIGN int32_t bins[kBlock + hn::MaxLanes(di)];
  const auto add = [&](size_t n) HWY_ATTR {
    size_t k = 0;
    for (; k + 4 <= n; k += 4) {
      ++zero_bin[bins[k]];
      ++zero_bin[bins[k + 1]];
      ++zero_bin[bins[k + 2]];
      ++zero_bin[bins[k + 3]];
    }
    for (; k < n; ++k) ++zero_bin[bins[k]];
  };
  size_t zeros = 0, i = 0;
  while (i + lanes <= count) {
    size_t n = 0, taken = 0;
    for (; taken + lanes <= kBlock && i + lanes <= count; i += lanes, taken += lanes) {
      const auto bin = hn::ConvertTo(di, hn::Floor(hn::Mul(hn::LoadU(df, data + i), scale)));
      const auto elsewhere = hn::Ne(bin, hn::Zero(di));
      hn::StoreU(hn::Compress(bin, elsewhere), di, bins + n);
      n += hn::CountTrue(di, elsewhere);
    }
    zeros += taken - n;
    add(n);
  }
  size_t n = 0;
  for (; i < count; ++i) {
    bins[n++] = hn::GetLane(hn::ConvertTo(di, hn::Floor(hn::Mul(hn::Set(df, data[i]), scale))));
  }
  add(n);
  *zero_bin += static_cast<uint32_t>(zeros);
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(find_extent);
HWY_EXPORT(widen_columns);
HWY_EXPORT(sum_columns);
HWY_EXPORT(count_bins);
HWY_EXPORT(move_counts);
}  // namespace

Extent find_extent(const float* data, size_t count) {
  return HWY_DYNAMIC_DISPATCH(find_extent)(data, count);
}
uint32_t widen_columns(const float* data, size_t rows, size_t columns, float* low, float* high) {
  return HWY_DYNAMIC_DISPATCH(widen_columns)(data, rows, columns, low, high);
}
void sum_columns(const float* data, size_t rows, size_t columns, float bound, double* sum,
                 double* squares, double* reaching) {
  HWY_DYNAMIC_DISPATCH(sum_columns)(data, rows, columns, bound, sum, squares, reaching);
}
void count_bins(const float* data, size_t count, float inverse_width, uint32_t* zero_bin) {
  HWY_DYNAMIC_DISPATCH(count_bins)(data, count, inverse_width, zero_bin);
}
void move_counts(uint32_t* counts, size_t size, int64_t* sums, int shift) {
  HWY_DYNAMIC_DISPATCH(move_counts)(counts, size, sums, shift);
}
}  // namespace octavo::kernels
#endif
