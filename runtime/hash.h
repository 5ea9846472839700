// The step of the project's 64-bit hashes, the same on every machine. Not against forgery.
#pragma once

#include <cstdint>

namespace octavo {

/// One word more of a hash.
constexpr uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9FB21C651E98DF25ull;
  return hash ^ hash >> 32;
}

}  // namespace octavo
