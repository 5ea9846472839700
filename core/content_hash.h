// A 64-bit hash of content, the same on every machine. Not against forgery.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "runtime/hash.h"

namespace octavo {

class ContentHash {
 public:
  void add(std::span<const std::byte> bytes) {
    // Eight bytes at once, as a little-endian machine reads them.
    size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      add(word);
    }
    uint64_t rest = uint64_t{bytes.size()} << 56;  // so that trailing zeros count
    for (int shift = 0; i < bytes.size(); ++i, shift += 8) {
      rest ^= static_cast<uint64_t>(bytes[i]) << shift;
    }
    add(rest);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  void add(uint64_t word) { state_ = mix(state_, word); }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0x9E3779B97F4A7C15ull;
};

}  // namespace octavo
