#include "runtime/plan_memory.h"

#include <gtest/gtest.h>

#include <random>

namespace octavo {
namespace {

TEST(PackArena, NeverSharesBytesBetweenBuffersAliveTogether) {
  std::mt19937 random(7);
  std::vector<ArenaBuffer> buffers(300);
  for (ArenaBuffer& buffer : buffers) {
    buffer.bytes = 1 + static_cast<int64_t>(random() % 5000);
    buffer.first = static_cast<int>(random() % 100);
    buffer.last = buffer.first + static_cast<int>(random() % 10);
  }
  const int64_t total = pack_arena(buffers);
  for (const ArenaBuffer& a : buffers) {
    EXPECT_EQ(a.offset % 64, 0);
    EXPECT_LE(a.offset + a.bytes, total);
    for (const ArenaBuffer& b : buffers) {
      if (&a == &b || a.last < b.first || b.last < a.first) continue;
      EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
    }
  }
}

TEST(PackArena, AChainNeedsTwoBuffers) {
  std::vector<ArenaBuffer> chain;
  for (int step = 0; step < 1000; ++step) chain.push_back({4096, step, step + 1});
  EXPECT_EQ(pack_arena(chain), 2 * 4096);
}

}  // namespace
}  // namespace octavo
