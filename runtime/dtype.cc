#include "runtime/dtype.h"

#include <array>

namespace octavo {

const DTypeInfo& dtype_info(DType dtype) {
  static constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
      {"undefined", 0, false, false, false},
      {"f32", 4, true, false, true},
      {"f16", 2, true, false, true},
      {"bf16", 2, true, false, true},
      {"i8", 1, false, true, true},
      {"u8", 1, false, true, false},
      {"i4", 1, false, true, true},
      {"u4", 1, false, true, false},
      {"i16", 2, false, true, true},
      {"u16", 2, false, true, false},
      {"i32", 4, false, true, true},
      {"i64", 8, false, true, true},
      {"u32", 4, false, true, false},
      {"u64", 8, false, true, false},
      {"f64", 8, true, false, true},
      {"bool", 1, false, false, false},
      {"string", static_cast<int64_t>(sizeof(std::string)), false, false, false},
  }};
  const auto index = static_cast<size_t>(dtype);
  return kInfo[index < kInfo.size() ? index : 0];
}

DType dtype_from_name(std::string_view name) {
  for (int i = 1; i < kDTypeCount; ++i) {
    if (dtype_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
  }
  return DType::kUndefined;
}

float f16_bits_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 31;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^−24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t f32_to_f16_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | ((bits >> 13) & 0x3FF));
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to infinity
  if (magnitude < 0x38800000) {  // subnormal in f16: the addition rounds to a multiple of 2^−24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) & 0x7FF));
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

}  // namespace octavo
