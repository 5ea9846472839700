#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"

namespace octavo::ops {

namespace {

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From(0);
  } else if constexpr (std::is_same_v<To, Int4> || std::is_same_v<To, UInt4>) {
    constexpr int kLow = std::is_same_v<To, Int4> ? -8 : 0, kHigh = kLow + 15;
    if constexpr (std::is_floating_point_v<From>) {
      // To 4 bits ONNX rounds to nearest even.
      const double rounded = value == value ? std::nearbyint(static_cast<double>(value)) : 0;
      return To(static_cast<int>(std::min<double>(std::max<double>(rounded, kLow), kHigh)));
    } else {
      return To(static_cast<int>(static_cast<uint32_t>(value) & 15));
    }
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (!(value == value)) return 0;
    using Limits = std::numeric_limits<To>;
    // Both bounds are powers of two or exact: comparing in From decides correctly.
    if (value <= static_cast<From>(Limits::min())) return Limits::min();
    if (value >= static_cast<From>(Limits::max())) return Limits::max();
    return static_cast<To>(value);
  } else if constexpr (std::is_same_v<To, Float16> || std::is_same_v<To, BFloat16>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

/// Which of double, int64_t and uint64_t holds every value of T.
template <class T>
using Widest =
    std::conditional_t<std::is_floating_point_v<ComputeType<T>>, double,
                       std::conditional_t<std::is_signed_v<ComputeType<T>>, int64_t, uint64_t>>;

// Elements [begin, begin + count) to and from the widest type. Conversion goes by way of it, in
// chunks: a loop per type, not one per pair of types.
using Load = void (*)(const void* from, int64_t begin, int64_t count, void* wide);
using Store = void (*)(const void* wide, void* to, int64_t begin, int64_t count);

template <class From>
void load(const void* from, int64_t begin, int64_t count, void* wide) {
  const From* in = static_cast<const From*>(from) + begin;
  auto* out = static_cast<Widest<From>*>(wide);
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<Widest<From>>(static_cast<ComputeType<From>>(in[i]));
  }
}

template <class To, class Wide>
void store(const void* wide, void* to, int64_t begin, int64_t count) {
  const Wide* in = static_cast<const Wide*>(wide);
  To* out = static_cast<To*>(to) + begin;
  for (int64_t i = 0; i < count; ++i) out[i] = convert<To>(in[i]);
}

template <class Wide>
Store find_store(DType dtype) {
  return visit_dtype(
      dtype, []<class To>() -> Store { return store<To, Wide>; },
      []() -> Store { return nullptr; });
}

std::string number_text(bool value) { return value ? "True" : "False"; }
template <class T>
  requires std::is_integral_v<T>
std::string number_text(T value) {
  return std::to_string(value);
}
/// The shortest text that reads back as the same number, as numpy prints it: "0.1", "2.0",
/// "1e-05". (std::to_chars would bring its tables of powers into the WebAssembly module.)
template <class T>
  requires std::is_floating_point_v<T>
std::string number_text(T value) {
  if (!(value == value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "INF" : "-INF";
  char buffer[64];
  for (int digits = 1; digits <= std::numeric_limits<T>::max_digits10; ++digits) {
    std::snprintf(buffer, sizeof buffer, "%.*e", digits - 1, static_cast<double>(value));
    if (static_cast<T>(std::strtod(buffer, nullptr)) == value) break;
  }
  std::string text = buffer;
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return text;
  // Positional: the digits with the point moved.
  const int decimals = std::max(
      static_cast<int>(text.find('.') == text.npos ? 0 : e - text.find('.') - 1) - exponent, 1);
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, std::strtod(text.c_str(), nullptr));
  return buffer;
}

Result<double> parse_number(const std::string& text) {
  // Not std::from_chars: libc++ lacks it for floating point.
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0') {
    return fail(ErrorCode::kInvalidData, "\"", text.substr(0, 40), "\" is not a number");
  }
  return value;
}

Status cast_to_strings(const TensorView& in, const TensorView& out) {
  return visit_dtype(
      in.dtype,
      [&]<class T>() -> Status {
        const int64_t count = in.elements();
        for (int64_t i = 0; i < count; ++i) {
          out.as<std::string>()[i] = number_text(static_cast<ComputeType<T>>(in.as<const T>()[i]));
        }
        return {};
      },
      [&]() -> Status { return bad_dtype(in.dtype); });
}

Status cast_from_strings(const TensorView& in, const TensorView& out) {
  return visit_dtype(
      out.dtype,
      [&]<class T>() -> Status {
        const int64_t count = in.elements();
        for (int64_t i = 0; i < count; ++i) {
          const std::string& text = in.as<const std::string>()[i];
          if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
            // Integers past 2^53 do not survive a double.
            T value = 0;
            const char* last = text.data() + text.size();
            const auto parsed = std::from_chars(text.data(), last, value);
            if (parsed.ec == std::errc() && parsed.ptr == last) {
              out.as<T>()[i] = value;
              continue;
            }
          }
          OCTAVO_ASSIGN(const double value, parse_number(text));
          out.as<T>()[i] = convert<T>(value);
        }
        return {};
      },
      [&]() -> Status { return bad_dtype(out.dtype); });
}

}  // namespace

Status cast_elements(const TensorView& in, const TensorView& out) {
  if (in.dtype == out.dtype) {
    copy_elements(in, out);
    return {};
  }
  if (out.dtype == DType::kString) return cast_to_strings(in, out);
  if (in.dtype == DType::kString) return cast_from_strings(in, out);
  Store store_chunk = nullptr;
  const Load load_chunk = visit_dtype(
      in.dtype,
      [&]<class From>() -> Load {
        store_chunk = find_store<Widest<From>>(out.dtype);
        return load<From>;
      },
      []() -> Load { return nullptr; });
  if (load_chunk == nullptr) return bad_dtype(in.dtype);
  if (store_chunk == nullptr) return bad_dtype(out.dtype);
  constexpr int64_t kChunk = 256;
  std::array<uint64_t, kChunk> wide;
  const int64_t count = in.elements();
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t n = std::min(kChunk, count - begin);
    load_chunk(in.data, begin, n, wide.data());
    store_chunk(wide.data(), out.data, begin, n);
  }
  return {};
}

namespace {

Status infer_cast(InferContext& context) {
  const int64_t to = context.node.get_int("to");
  const DType dtype = dtype_from_onnx(to);
  if (dtype == DType::kUndefined) {
    return fail(ErrorCode::kUnsupportedOp, "cannot cast to ONNX data type ", to);
  }
  context.set_output(0, dtype, context.shape(0));
  return {};
}

Status infer_cast_like(InferContext& context) {
  context.set_output(0, context.dtype(1), context.shape(0));
  return {};
}

Status cast(KernelContext& context) {
  OCTAVO_ASSIGN(const TensorView out,
                context.make_output(0, context.out(0).dtype, context.in(0).shape));
  return cast_elements(context.in(0), out);
}

constexpr FieldDef kCastFields[] = {required(int_field("to")), int_field("saturate", 1)};
constexpr FieldDef kCastLikeFields[] = {int_field("saturate", 1)};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kCast,
     .name = "Cast",
     .fields = kCastFields,
     .infer = infer_cast,
     .reference = cast,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kCastLike,
     .name = "CastLike",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kCastLikeFields,
     .infer = infer_cast_like,
     .reference = cast,
     .layout = LayoutRule::kPlain},
};

}  // namespace

std::span<const OpDef> cast_ops() { return kRows; }

}  // namespace octavo::ops
