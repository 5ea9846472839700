// Reference functions of the operators that change shapes and move elements.
#include <limits>

#include "tests/op_runner.h"

namespace octavo {
namespace {

using testing::dims;
using testing::elements;
using testing::i64s;
using testing::iota;
using testing::OpRun;
using Ints = std::vector<int64_t>;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(Reshape, CopiesAndInfers) {
  const Tensor x = iota<float>({2, 3, 4});
  for (const bool known : {true, false}) {
    const OpRun op{OpKind::kReshape, {}, 1, known};
    EXPECT_EQ(dims(op.first({x, i64s({0, -1})})), (Ints{2, 12}));
    EXPECT_EQ(dims(op.first({x, i64s({4, 0, 2})})), (Ints{4, 3, 2}));
    EXPECT_FALSE(op.run({x, i64s({5, -1})}));
    EXPECT_FALSE(op.run({x, i64s({-1, -1})}));
    EXPECT_FALSE(op.run({x, i64s({kMax, kMax, kMax})}));
  }
  const OpRun zero{OpKind::kReshape, {{"allowzero", int64_t{1}}}};
  EXPECT_EQ(dims(zero.first({iota<float>({0, 3}), i64s({3, 0})})), (Ints{3, 0}));
}

TEST(Reshape, FollowsSymbols) {
  const Node node{OpKind::kReshape};
  const int64_t batch = -2, height = -3;
  const auto infer = [&](const Shape& in, std::initializer_list<int64_t> target) {
    const TensorInfo x{DType::kF32, in, {}, nullptr};
    const TensorInfo shape{DType::kI64, {int64_t(target.size())}, i64s(target), nullptr};
    const TensorInfo* inputs[] = {&x, &shape};
    TensorInfo out[1];
    const Status status = infer_node(node, inputs, out);
    EXPECT_TRUE(status) << status.error().to_string();
    return Ints(out[0].shape.begin(), out[0].shape.end());
  };
  EXPECT_EQ(infer({batch, 3, 4}, {0, -1}), (Ints{batch, 12}));
  EXPECT_EQ(infer({batch, 3, 4}, {-1, 12}), (Ints{batch, 12}));
  EXPECT_EQ(infer({batch, 3, 4}, {-1, 6}), (Ints{kUnknownDim, 6}));
  EXPECT_EQ(infer({batch, 8, height}, {0, 2, 4, -1}), (Ints{batch, 2, 4, height}));
}

TEST(Squeeze, RemovesNamedOrAllUnitAxes) {
  const Tensor x = iota<float>({1, 3, 1, 2});
  EXPECT_EQ(dims(OpRun{OpKind::kSqueeze}.first({x})), (Ints{3, 2}));
  EXPECT_EQ(dims(OpRun{OpKind::kSqueeze}.first({x, i64s({-2})})), (Ints{1, 3, 2}));
  EXPECT_FALSE(OpRun{OpKind::kSqueeze}.run({x, i64s({1})}));
  EXPECT_EQ(dims(OpRun{OpKind::kUnsqueeze}.first({x, i64s({-1, 0})})), (Ints{1, 1, 3, 1, 2, 1}));
  EXPECT_FALSE(OpRun{OpKind::kUnsqueeze}.run({x, i64s({0, 0})}));
  EXPECT_FALSE(OpRun{OpKind::kUnsqueeze}.run({x, i64s({0, 1, 2, 3, 4})}));
}

TEST(Transpose, MovesEveryElement) {
  const Tensor x = iota<int32_t>({2, 3, 4});
  const OpRun op{OpKind::kTranspose, {{"perm", Ints{2, 0, 1}}}};
  const Tensor y = op.first({x});
  EXPECT_EQ(dims(y), (Ints{4, 2, 3}));
  EXPECT_EQ(elements<int32_t>(y)[7], 4 * 3 + 0 * 4 - 12 + 5);  // y[1][0][1] = x[0][1][1]
  EXPECT_EQ(elements<int32_t>(OpRun{OpKind::kTranspose}.first({iota<int32_t>({2, 3})})),
            (std::vector<int32_t>{0, 3, 1, 4, 2, 5}));
  const Tensor words = Tensor::of<std::string>({2, 2}, {"a", "b", "c", "d"});
  EXPECT_EQ(elements<std::string>(OpRun{OpKind::kTranspose}.first({words})),
            (std::vector<std::string>{"a", "c", "b", "d"}));
  EXPECT_FALSE((OpRun{OpKind::kTranspose, {{"perm", Ints{0, 0, 1}}}}.run({x})));
}

// Larger than the copy's tiles on both sides.
TEST(Transpose, WorksPastTheTiles) {
  const Tensor x = iota<float>({3, 37, 41});
  const Tensor y = OpRun{OpKind::kTranspose, {{"perm", Ints{0, 2, 1}}}}.first({x});
  const auto in = elements<float>(x), out = elements<float>(y);
  for (size_t n = 0; n < 3; ++n) {
    for (size_t i = 0; i < 37; ++i) {
      for (size_t j = 0; j < 41; ++j) {
        ASSERT_EQ(out[(n * 41 + j) * 37 + i], in[(n * 37 + i) * 41 + j]);
      }
    }
  }
}

TEST(Slice, ClampsBounds) {
  const Tensor x = iota<int64_t>({10});
  const OpRun op{OpKind::kSlice};
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return elements<int64_t>(op.first({x, i64s({start}), i64s({end}), i64s({0}), i64s({step})}));
  };
  EXPECT_EQ(slice(2, 7, 2), (Ints{2, 4, 6}));
  EXPECT_EQ(slice(-3, kMax, 1), (Ints{7, 8, 9}));
  EXPECT_EQ(slice(kMax, kMin, -4), (Ints{9, 5, 1}));
  EXPECT_EQ(slice(kMin, kMax, kMax), (Ints{0}));
  EXPECT_EQ(slice(kMax, kMin, kMin), (Ints{9}));
  EXPECT_EQ(slice(5, 2, 1), (Ints{}));
  EXPECT_FALSE(op.run({x, i64s({0}), i64s({1}), i64s({0}), i64s({0})}));
  EXPECT_FALSE(op.run({x, i64s({0}), i64s({1}), i64s({1})}));
  EXPECT_FALSE(op.run({x, i64s({0}), i64s({1, 2})}));
}

TEST(Split, DividesUnevenly) {
  const Tensor x = iota<int64_t>({7});
  const auto parts = OpRun{OpKind::kSplit, {{"num_outputs", int64_t{3}}}, 3}.run({x});
  ASSERT_TRUE(parts);
  EXPECT_EQ(elements<int64_t>((*parts)[1]), (Ints{3, 4, 5}));
  EXPECT_EQ(elements<int64_t>((*parts)[2]), (Ints{6}));
  const auto given = OpRun{OpKind::kSplit, {}, 2}.run({x, i64s({6, 1})});
  ASSERT_TRUE(given);
  EXPECT_EQ(elements<int64_t>((*given)[1]), (Ints{6}));
  EXPECT_FALSE((OpRun{OpKind::kSplit, {}, 2}.run({x, i64s({6, 2})})));
  EXPECT_FALSE((OpRun{OpKind::kSplit, {}, 2}.run({x, i64s({8, -1})})));
}

// All views of a kAgnostic operator in channels-last memory give the plain result, reordered.
TEST(Concat, WorksOnChannelsLast) {
  const auto to_last = [](const Tensor& t) {
    return OpRun{OpKind::kTranspose, {{"perm", Ints{0, 2, 3, 1}}}}.first({t});
  };
  const Tensor a = iota<float>({2, 3, 2, 2}), b = iota<float>({2, 1, 2, 2}, 100);
  const OpRun op{OpKind::kConcat, {{"axis", int64_t{1}}}};
  const Tensor expected = to_last(op.first({a, b}));
  const Tensor a_last = to_last(a);
  Tensor out = *Tensor::create(DType::kF32, expected.shape());
  TensorView views[] = {a_last.view(), b.view()};  // b: a constant, in plain layout
  views[0].layout = Layout::kChannelsLast;
  views[0].shape = a.shape();
  TensorView outs[] = {out.view()};
  outs[0].layout = Layout::kChannelsLast;
  outs[0].shape = Shape{2, 4, 2, 2};
  const Node node{OpKind::kConcat, {0, 1}, {2}, {{"axis", int64_t{1}}}, ""};
  KernelContext context{node, views, outs};
  ASSERT_TRUE(run_reference(*find_op(OpKind::kConcat), context));
  EXPECT_EQ(elements<float>(out), elements<float>(expected));
}

TEST(Pad, ReadsFromTheInput) {
  const Tensor x = iota<int64_t>({4}, 1);
  const auto pad = [&](const char* mode, int64_t begin, int64_t end) {
    const OpRun op{OpKind::kPad, {{"mode", std::string(mode)}}};
    return elements<int64_t>(op.first({x, i64s({begin, end})}));
  };
  EXPECT_EQ(pad("constant", 1, 2), (Ints{0, 1, 2, 3, 4, 0, 0}));
  EXPECT_EQ(pad("constant", -5, 3), (Ints{0, 0}));
  EXPECT_EQ(pad("edge", 2, 1), (Ints{1, 1, 1, 2, 3, 4, 4}));
  EXPECT_EQ(pad("reflect", 3, 2), (Ints{4, 3, 2, 1, 2, 3, 4, 3, 2}));
  EXPECT_EQ(pad("reflect", 0, 7), (Ints{1, 2, 3, 4, 3, 2, 1, 2, 3, 4, 3}));
  EXPECT_EQ(pad("wrap", 3, -1), (Ints{1, 2, 3, 1, 2, 3}));
  const OpRun op{OpKind::kPad};
  EXPECT_FALSE(op.run({x, i64s({kMax, kMax})}));
  EXPECT_FALSE(op.run({x, i64s({-3, -3})}));
  EXPECT_FALSE(op.run({x, i64s({int64_t{1} << 40, 0})}));
}

TEST(Pad, WorksOnSeveralAxesWithAValue) {
  const Tensor x = iota<float>({2, 2}, 1);
  const OpRun op{OpKind::kPad};
  EXPECT_EQ(elements<float>(op.first({x, i64s({1, 1}), Tensor::scalar(9.0f), i64s({-1})})),
            (std::vector<float>{9, 1, 2, 9, 9, 3, 4, 9}));
  EXPECT_EQ(elements<float>(OpRun{OpKind::kPad, {{"mode", std::string("edge")}}}.first(
                {x, i64s({1, 0, 0, 1})})),
            (std::vector<float>{1, 2, 2, 1, 2, 2, 3, 4, 4}));
}

TEST(Expand, BroadcastsAndIsBounded) {
  const OpRun op{OpKind::kExpand};
  EXPECT_EQ(elements<float>(op.first({iota<float>({2, 1}), i64s({2, 1, 3})})),
            (std::vector<float>{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1}));
  const auto bomb = op.run({iota<float>({1}), i64s({int64_t{1} << 40, int64_t{1} << 40})});
  ASSERT_FALSE(bomb);
  EXPECT_EQ(bomb.error().code, ErrorCode::kLimitExceeded);
}

TEST(Tile, RepeatsBlocks) {
  const OpRun op{OpKind::kTile};
  EXPECT_EQ(elements<float>(op.first({iota<float>({2, 2}), i64s({2, 2})})),
            (std::vector<float>{0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3}));
  EXPECT_FALSE(op.run({iota<float>({2, 2}), i64s({kMax, kMax})}));
}

TEST(DepthToSpace, IsUndoneBySpaceToDepth) {
  const Tensor x = iota<float>({1, 8, 2, 3});
  const OpRun deep{OpKind::kSpaceToDepth, {{"blocksize", int64_t{2}}}};
  const OpRun wide{OpKind::kDepthToSpace, {{"blocksize", int64_t{2}}}};
  const Tensor y = wide.first({x});
  EXPECT_EQ(dims(y), (Ints{1, 2, 4, 6}));
  // Rows of channel 0 interleave input channels 0 and 2 (DCR), 0 and 1 (CRD).
  EXPECT_EQ(elements<float>(y)[1], 12);
  EXPECT_EQ(elements<float>(deep.first({y})), elements<float>(x));
  const OpRun crd{OpKind::kDepthToSpace, {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}}};
  EXPECT_EQ(elements<float>(crd.first({x}))[1], 6);
}

}  // namespace
}  // namespace octavo
