// Random numbers that are the same on every machine: integer arithmetic, then IEEE operations only.
#pragma once

#include <cstdint>

namespace octavo::digits {

/// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// [0, n).
  int below(int n) { return static_cast<int>(uniform() * n); }
  bool chance(double probability) { return uniform() < probability; }
  /// Mean 0, deviation 1, never beyond 3.5: the sum of four uniforms, which needs no library
  /// function.
  double normal() {
    constexpr double kSqrt3 = 1.7320508075688772;
    return (uniform() + uniform() + uniform() + uniform() - 2.0) * kSqrt3;
  }

 private:
  uint64_t state_;
};

}  // namespace octavo::digits
