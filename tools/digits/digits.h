// Handwritten digits, drawn by the dozen: strokes, distorted the way hands do, seen through a
// scanner. The same seed gives the same bytes on every machine. Needs nothing but the standard
// library.
#pragma once

#include <array>
#include <cstdint>

namespace octavo::digits {

inline constexpr int kSize = 28;  // width and height in pixels

/// Row-major, ink 255 on 0.
using Image = std::array<uint8_t, kSize * kSize>;

/// How far the writing may stray from the copybook; 1 is what a mixed crowd writes.
struct Options {
  double sloppiness = 1.0;  // scales every geometric distortion; [0, 2]
  double noise = 1.0;       // scales pixel noise, blots and fading; [0, 2]
};

/// One image of `digit` (0 to 9).
Image draw(int digit, uint64_t seed, const Options& options = {});

struct Sample {
  Image image;
  uint8_t label;
};

/// Sample `index` of the endless shuffled series `seed`. Independent of the other samples, so that
/// a longer series begins with a shorter one.
Sample sample(uint64_t seed, uint64_t index, const Options& options = {});

}  // namespace octavo::digits
