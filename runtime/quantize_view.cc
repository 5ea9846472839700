#include "runtime/quantize_view.h"

#include "runtime/kernels/elementwise.h"

namespace octavo {
namespace {

// Calls fn(begin, end, parameter_index) over runs of elements that share a scale.
template <class Fn>
Status for_each_run(const TensorView& view, const Fn& fn) {
  const QuantParams& quant = *view.quant;
  const int64_t count = view.elements();
  if (quant.scale.empty() || quant.scale.size() != quant.zero_point.size()) {
    return fail(ErrorCode::kShapeMismatch, quant.scale.size(), " scales but ",
                quant.zero_point.size(), " zero points");
  }
  if (quant.per_tensor()) {
    fn(int64_t{0}, count, size_t{0});
    return {};
  }
  const int rank = view.shape.rank();
  if (quant.axis >= rank) {
    return fail(ErrorCode::kShapeMismatch, "quantization axis ", quant.axis, " is outside rank ",
                rank);
  }
  const Shape shape = physical_shape(view.shape, view.layout);
  const int axis = physical_axis(quant.axis, rank, view.layout);
  const int64_t outer = shape.elements(0, axis), channels = shape[axis];
  const int64_t inner = shape.elements(axis + 1, rank);
  const int64_t block = std::clamp<int64_t>(quant.block_size, 1, std::max<int64_t>(channels, 1));
  const bool blocked = quant.block_size > 0;
  // Blocked parameters have the tensor's shape with `axis` divided by the block size.
  const int64_t blocks = (channels + block - 1) / block;
  const int64_t needed = blocked ? outer * blocks * inner : channels;
  if (static_cast<int64_t>(quant.scale.size()) != needed) {
    return fail(ErrorCode::kShapeMismatch, quant.scale.size(), " scales where ", needed,
                " are needed");
  }
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t at = (o * channels + c) * inner;
      if (!blocked) {
        fn(at, at + inner, static_cast<size_t>(c));
        continue;
      }
      for (int64_t i = 0; i < inner; ++i) {
        fn(at + i, at + i + 1, static_cast<size_t>((o * blocks + c / block) * inner + i));
      }
    }
  }
  return {};
}

template <class Fn>
Status visit_integers(const TensorView& view, const Fn& fn) {
  switch (view.dtype) {
    case DType::kI8: return fn.template operator()<int8_t>();
    case DType::kU8: return fn.template operator()<uint8_t>();
    case DType::kI4: return fn.template operator()<Int4>();
    case DType::kU4: return fn.template operator()<UInt4>();
    case DType::kI16: return fn.template operator()<int16_t>();
    case DType::kU16: return fn.template operator()<uint16_t>();
    case DType::kI32: return fn.template operator()<int32_t>();
    default:
      return fail(ErrorCode::kShapeMismatch, "values of dtype ", dtype_name(view.dtype),
                  " cannot be quantized");
  }
}

struct Bounds {
  float lo, hi;
};
template <class T>
constexpr Bounds bounds_of() {
  if constexpr (std::is_same_v<T, Int4>)
    return {-8, 7};
  else if constexpr (std::is_same_v<T, UInt4>)
    return {0, 15};
  else if constexpr (std::is_same_v<T, int32_t>)
    return {-2147483648.0f, 2147483520.0f};
  else
    return {static_cast<float>(std::numeric_limits<T>::min()),
            static_cast<float>(std::numeric_limits<T>::max())};
}

// Runs that are worth the call of the vector loop (the same formula).
template <class T>
constexpr bool kHasRow = std::is_integral_v<T> && sizeof(T) <= 2;
constexpr int64_t kVectorRun = 32;

}  // namespace

Status dequantize_view(const TensorView& in, float* out) {
  return visit_integers(in, [&]<class T>() -> Status {
    const T* q = in.as<const T>();
    return for_each_run(in, [&](int64_t begin, int64_t end, size_t p) {
      const float scale = in.quant->scale[p];
      if (kHasRow<T> && end - begin >= kVectorRun) {
        const int32_t zero = in.quant->zero_point[p];
        return kernels::dequantize_row(q + begin, scale, zero, in.dtype, out + begin, end - begin);
      }
      const int64_t zero_point = in.quant->zero_point[p];
      for (int64_t i = begin; i < end; ++i) {
        out[i] = static_cast<float>(static_cast<int32_t>(q[i]) - zero_point) * scale;
      }
    });
  });
}

Status quantize_view(const float* in, const TensorView& out) {
  return visit_integers(out, [&]<class T>() -> Status {
    T* q = out.as<T>();
    constexpr Bounds kBounds = bounds_of<T>();
    return for_each_run(out, [&](int64_t begin, int64_t end, size_t p) {
      const float scale = out.quant->scale[p];
      if (kHasRow<T> && end - begin >= kVectorRun) {
        const int32_t zero = out.quant->zero_point[p];
        return kernels::quantize_row(in + begin, scale, zero, out.dtype, q + begin, end - begin);
      }
      const auto zero_point = static_cast<float>(out.quant->zero_point[p]);
      for (int64_t i = begin; i < end; ++i) {
        float y = round_half_even(in[i] / scale);
        if (!(y == y)) y = 0;  // NaN becomes zero
        y += zero_point;
        q[i] = T(static_cast<int32_t>(std::min(std::max(y, kBounds.lo), kBounds.hi)));
      }
    });
  });
}

}  // namespace octavo
