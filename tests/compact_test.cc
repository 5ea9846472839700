#include "runtime/compact.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/graph_builder.h"

namespace octavo {
namespace {

Graph sample_graph() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 4, 4});
  const ValueId conv = b.node(OpKind::kConv, {x, b.random("w", {2, 3, 3, 3})}, "conv",
                              {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"group", int64_t{1}}});
  const ValueId y = b.node(OpKind::kReshape, {conv, b.ints("shape", {1, -1})}, "y");
  Graph graph = b.output(y).build();
  Value weights{.name = "w4", .dtype = DType::kI4, .shape = {3}};
  weights.constant = *Tensor::create(DType::kI4, {3});
  const std::vector<int8_t> nibbles = {-8, 7, -1};
  std::memcpy(weights.constant.raw(), nibbles.data(), nibbles.size());
  weights.quant = std::make_shared<const QuantParams>(QuantParams{{0.5f}, {0}});
  graph.add_value(std::move(weights));
  graph.symbol_dim("N");
  graph.metadata = {{"recipe", "static_quant"}};
  return graph;
}

std::span<const std::byte> bytes_of(const Graph& graph, std::string_view name) {
  return graph.value(graph.find_value(name)).constant.raw_bytes();
}

TEST(Compact, RoundTripKeepsTheGraph) {
  const Graph graph = sample_graph();
  const auto bytes = write_compact(graph);
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  const auto read = read_compact(*bytes, nullptr);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(dump(*read), dump(graph));
  EXPECT_EQ(read->metadata, graph.metadata);
  EXPECT_EQ(read->symbols, graph.symbols);
  for (const char* name : {"w", "shape", "w4"}) {
    EXPECT_TRUE(std::ranges::equal(bytes_of(*read, name), bytes_of(graph, name))) << name;
  }
}

TEST(Compact, WeightsAreUsedInPlaceWhenTheOwnerIsGiven) {
  const auto bytes = write_compact(sample_graph());
  ASSERT_TRUE(bytes);
  auto aligned =
      std::make_shared<Tensor>(*Tensor::create(DType::kU8, {static_cast<int64_t>(bytes->size())}));
  std::memcpy(aligned->raw(), bytes->data(), bytes->size());
  const auto* base = static_cast<const std::byte*>(aligned->raw());
  const auto read =
      read_compact({static_cast<const uint8_t*>(aligned->raw()), bytes->size()}, aligned);
  ASSERT_TRUE(read);
  const std::byte* weights = bytes_of(*read, "w").data();
  EXPECT_TRUE(weights >= base && weights < base + bytes->size());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(weights) % 64, 0u);
}

TEST(Compact, DamagedFilesAreErrorsOrOtherGraphsNeverCrashes) {
  const auto bytes = write_compact(sample_graph());
  ASSERT_TRUE(bytes);
  for (size_t size = 0; size < bytes->size(); ++size) {
    const std::vector<uint8_t> cut(bytes->begin(), bytes->begin() + static_cast<ptrdiff_t>(size));
    const auto read = read_compact(cut, nullptr);
    // All but the padding at the very end is needed.
    EXPECT_TRUE(!read || size + 4 > bytes->size()) << "cut to " << size << " bytes";
  }
  for (size_t bit = 0; bit < bytes->size() * 8; ++bit) {
    std::vector<uint8_t> flipped = *bytes;
    flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1 << bit % 8));
    if (const auto read = read_compact(flipped, nullptr)) {
      EXPECT_TRUE(validate(*read));
    }
  }
}

TEST(Compact, ZeroPointsThatTheirIntegersCannotHaveAreErrors) {
  const auto read_with = [](DType dtype, int32_t zero_point) {
    Graph graph = sample_graph();
    Value& x = graph.value(graph.inputs[0]);
    x.dtype = dtype;
    x.quant = std::make_shared<const QuantParams>(QuantParams{{0.5f}, {zero_point}});
    const auto bytes = write_compact(graph);
    return bytes ? read_compact(*bytes, nullptr) : std::unexpected(bytes.error());
  };
  for (const auto& [dtype, good, bad] : {std::tuple{DType::kU8, 255, 256},
                                         {DType::kI8, -128, -129},
                                         {DType::kI16, 0, std::numeric_limits<int32_t>::min()},
                                         {DType::kI32, 0, 1}}) {
    EXPECT_TRUE(read_with(dtype, good)) << dtype_name(dtype);
    const auto read = read_with(dtype, bad);
    ASSERT_FALSE(read) << dtype_name(dtype);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidModel);
    EXPECT_EQ(read.error().tensor, "x");
  }
}

}  // namespace
}  // namespace octavo
