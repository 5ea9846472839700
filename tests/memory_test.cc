#include "runtime/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace octavo::testing {
namespace {

constexpr size_t kPage = size_t{2} << 20;
std::vector<std::pair<uintptr_t, size_t>> advised;
void note(void* memory, size_t bytes) {
  advised.emplace_back(reinterpret_cast<uintptr_t>(memory), bytes);
}

class Memory : public ::testing::Test {
 protected:
  void TearDown() override { set_memory_advice(nullptr); }
};

// Fills the block, which must be zero before.
void use(const std::shared_ptr<void>& block, size_t bytes, unsigned char value) {
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block.get()) % 64, 0u);
  const std::span<unsigned char> all(static_cast<unsigned char*>(block.get()), bytes);
  EXPECT_TRUE(std::ranges::all_of(all, [](unsigned char c) { return c == 0; }));
  std::ranges::fill(all, value);
}

TEST_F(Memory, BlocksAreZeroWithAndWithoutAdvice) {
  for (const MemoryAdvice advice : {MemoryAdvice(nullptr), MemoryAdvice(note)}) {
    set_memory_advice(advice);
    for (int round = 0; round < 3; ++round) {
      for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, kPage, 3 * kPage + 5}) {
        use(allocate_zeroed(bytes), bytes, 7);
        use(allocate_neighbour(bytes), bytes, 7);
      }
    }
  }
}

TEST_F(Memory, LargeBlocksAreAnnounced) {
  set_memory_advice(note);
  advised.clear();
  const auto small = allocate_zeroed(kPage - 1);
  EXPECT_TRUE(advised.empty());
  const auto large = allocate_zeroed(2 * kPage + 100);
  ASSERT_EQ(advised.size(), 1u);
  EXPECT_EQ(advised[0].first, reinterpret_cast<uintptr_t>(large.get()));
  EXPECT_EQ(advised[0].first % kPage, 0u);
  EXPECT_EQ(advised[0].second, 2 * kPage);
}

TEST_F(Memory, NeighboursAreApartAndOutliveEachOther) {
  set_memory_advice(note);
  advised.clear();
  std::vector<std::shared_ptr<void>> parts;
  constexpr size_t kBytes = 100'000;
  for (int i = 0; i < 100; ++i) {
    parts.push_back(allocate_neighbour(kBytes));
    use(parts.back(), kBytes, static_cast<unsigned char>(i + 1));
  }
  EXPECT_LE(advised.size(), 4u);  // of 4 MiB
  for (int i = 0; i < 100; i += 2) parts[static_cast<size_t>(i)].reset();
  for (int i = 1; i < 100; i += 2) {
    const auto* bytes = static_cast<const unsigned char*>(parts[static_cast<size_t>(i)].get());
    EXPECT_TRUE(std::all_of(bytes, bytes + kBytes, [&](unsigned char c) { return c == i + 1; }));
  }
}

}  // namespace
}  // namespace octavo::testing
