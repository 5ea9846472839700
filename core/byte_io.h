// Numbers as bytes, for what core itself reads again: integers of variable length (seven bits a
// byte, the lowest first), floats in little-endian order.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace octavo {

class ByteWriter {
 public:
  void add(uint64_t x) {
    for (; x >= 0x80; x >>= 7) bytes_.push_back(static_cast<uint8_t>(x | 0x80));
    bytes_.push_back(static_cast<uint8_t>(x));
  }
  /// Small magnitudes take few bytes.
  void add_signed(int64_t x) {
    add(static_cast<uint64_t>(x) << 1 ^ static_cast<uint64_t>(x >> 63));
  }
  void add(float x) { add_fixed(std::bit_cast<uint32_t>(x)); }
  void add(double x) { add_fixed(std::bit_cast<uint64_t>(x)); }
  /// All bytes of an integer.
  template <class T>
  void add_fixed(T bits) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<uint8_t>(bits >> 8 * i));
  }
  void add(const std::string& text) {
    add(uint64_t{text.size()});
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

/// Reads what ByteWriter wrote. Bytes that end too early make ok() false; what is read then is 0.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  size_t left() const { return bytes_.size(); }
  void set_bad() { ok_ = false; }

  uint64_t number() {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = next();
      x |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return x;
    }
    ok_ = false;
    return 0;
  }
  int64_t signed_number() {
    const uint64_t x = number();
    return static_cast<int64_t>(x >> 1) ^ -static_cast<int64_t>(x & 1);
  }
  /// A number of items of at least one byte each.
  size_t count() {
    const uint64_t n = number();
    if (n <= bytes_.size()) return static_cast<size_t>(n);
    ok_ = false;
    return 0;
  }
  float f32() { return std::bit_cast<float>(fixed<uint32_t>()); }
  double f64() { return std::bit_cast<double>(fixed<uint64_t>()); }
  std::string text() {
    std::string made;
    for (size_t n = count(); n > 0; --n) made += static_cast<char>(next());
    return made;
  }
  template <class T>
  T fixed() {
    T bits = 0;
    for (size_t i = 0; i < sizeof(T); ++i) bits |= static_cast<T>(next()) << 8 * i;
    return bits;
  }

 private:
  uint8_t next() {
    if (bytes_.empty()) {
      ok_ = false;
      return 0;
    }
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  std::span<const uint8_t> bytes_;
  bool ok_ = true;
};

}  // namespace octavo
