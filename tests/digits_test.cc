#include "tools/digits/digits.h"

#include <gtest/gtest.h>

namespace octavo::digits {
namespace {

// The demo's model was trained on these images: other bytes would mean other accuracy figures.
TEST(Digits, SameBytesOnEveryMachine) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint64_t i = 0; i < 200; ++i) {
    const Sample drawn = sample(7, i);
    for (const uint8_t pixel : drawn.image) hash = (hash ^ pixel) * 0x100000001b3u;
    hash = (hash ^ drawn.label) * 0x100000001b3u;
  }
  EXPECT_EQ(hash, 2227948206504320439u);
}

TEST(Digits, ExtremeOptionsStayOnThePage) {
  for (int digit = 0; digit < 10; ++digit) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const Image image = draw(digit, seed, {.sloppiness = 2, .noise = 2});
      int inked = 0;
      for (const uint8_t pixel : image) inked += pixel > 60;
      EXPECT_GT(inked, 5) << "digit " << digit << " seed " << seed;
    }
  }
}

}  // namespace
}  // namespace octavo::digits
