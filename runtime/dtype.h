// Element types. `visit_dtype` is the only switch from a DType to a C++ type.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace octavo {

enum class DType : uint8_t {
  kUndefined,
  kF32,
  kF16,
  kBF16,
  kI8,
  kU8,
  kI4,  // one value in a byte while in memory, two in a byte in files
  kU4,
  kI16,
  kU16,
  kI32,
  kI64,
  kU32,
  kU64,
  kF64,
  kBool,
  kString,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kString) + 1;

struct DTypeInfo {
  std::string_view name;  // "f32"; the names used in dumps, options and JSON
  int64_t bytes;          // of one element in memory
  bool is_float;
  bool is_int;  // integers, not bool
  bool is_signed;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
inline int64_t dtype_bytes(DType dtype) { return dtype_info(dtype).bytes; }
/// kUndefined if there is no such dtype.
DType dtype_from_name(std::string_view name);

/// Round to nearest even; NaN stays NaN.
uint16_t f32_to_f16_bits(float value);
float f16_bits_to_f32(uint16_t bits);
inline uint16_t f32_to_bf16_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value) : bits(f32_to_f16_bits(value)) {}
  operator float() const { return f16_bits_to_f32(bits); }
};

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) : bits(f32_to_bf16_bits(value)) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// 4-bit integers, held in a byte each, sign- or zero-extended.
struct Int4 {
  int8_t value = 0;
  Int4() = default;
  explicit Int4(int v)
      : value(static_cast<int8_t>(static_cast<int8_t>(static_cast<uint32_t>(v) << 4) >> 4)) {}
  operator int() const { return value; }
};
struct UInt4 {
  uint8_t value = 0;
  UInt4() = default;
  explicit UInt4(int v) : value(static_cast<uint8_t>(v & 15)) {}
  operator int() const { return value; }
};

template <class T>
struct DTypeOf;
template <DType D>
struct DTypeConstant {
  static constexpr DType value = D;
};
template <>
struct DTypeOf<float> : DTypeConstant<DType::kF32> {};
template <>
struct DTypeOf<Float16> : DTypeConstant<DType::kF16> {};
template <>
struct DTypeOf<BFloat16> : DTypeConstant<DType::kBF16> {};
template <>
struct DTypeOf<int8_t> : DTypeConstant<DType::kI8> {};
template <>
struct DTypeOf<uint8_t> : DTypeConstant<DType::kU8> {};
template <>
struct DTypeOf<Int4> : DTypeConstant<DType::kI4> {};
template <>
struct DTypeOf<UInt4> : DTypeConstant<DType::kU4> {};
template <>
struct DTypeOf<int16_t> : DTypeConstant<DType::kI16> {};
template <>
struct DTypeOf<uint16_t> : DTypeConstant<DType::kU16> {};
template <>
struct DTypeOf<int32_t> : DTypeConstant<DType::kI32> {};
template <>
struct DTypeOf<int64_t> : DTypeConstant<DType::kI64> {};
template <>
struct DTypeOf<uint32_t> : DTypeConstant<DType::kU32> {};
template <>
struct DTypeOf<uint64_t> : DTypeConstant<DType::kU64> {};
template <>
struct DTypeOf<double> : DTypeConstant<DType::kF64> {};
template <>
struct DTypeOf<bool> : DTypeConstant<DType::kBool> {};
template <>
struct DTypeOf<std::string> : DTypeConstant<DType::kString> {};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Half-precision types compute in float, 4-bit ones in int; every other type in itself.
template <class T>
using ComputeType = std::conditional_t<
    std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>, float,
    std::conditional_t<std::is_same_v<T, Int4> || std::is_same_v<T, UInt4>, int, T>>;

/// Tells `fn` the element type: calls fn.template operator()<T>() with T for `dtype`.
/// Strings and kUndefined included only where the caller names them; otherwise `otherwise()`.
template <class Fn, class Otherwise>
auto visit_dtype(DType dtype, Fn&& fn, Otherwise&& otherwise) {
  switch (dtype) {
    case DType::kF32: return fn.template operator()<float>();
    case DType::kF16: return fn.template operator()<Float16>();
    case DType::kBF16: return fn.template operator()<BFloat16>();
    case DType::kI8: return fn.template operator()<int8_t>();
    case DType::kU8: return fn.template operator()<uint8_t>();
    case DType::kI4: return fn.template operator()<Int4>();
    case DType::kU4: return fn.template operator()<UInt4>();
    case DType::kI16: return fn.template operator()<int16_t>();
    case DType::kU16: return fn.template operator()<uint16_t>();
    case DType::kI32: return fn.template operator()<int32_t>();
    case DType::kI64: return fn.template operator()<int64_t>();
    case DType::kU32: return fn.template operator()<uint32_t>();
    case DType::kU64: return fn.template operator()<uint64_t>();
    case DType::kF64: return fn.template operator()<double>();
    case DType::kBool: return fn.template operator()<bool>();
    default: return otherwise();
  }
}

/// Switch for work that depends on the element's size alone (data movement): fn gets an unsigned
/// type of 1, 2, 4 or 8 bytes, or std::string.
template <class Fn>
auto visit_dtype_size(DType dtype, Fn&& fn) {
  if (dtype == DType::kString) return fn.template operator()<std::string>();
  switch (dtype_bytes(dtype)) {
    case 1: return fn.template operator()<uint8_t>();
    case 2: return fn.template operator()<uint16_t>();
    case 4: return fn.template operator()<uint32_t>();
    default: return fn.template operator()<uint64_t>();
  }
}

}  // namespace octavo
