// Reference functions that gather, scatter, generate, resize and repeat: what ONNX's own cases
// leave out, above all bad input.
#include <cmath>
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
using Floats = std::vector<float>;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

TEST(Gather, ChecksIndices) {
  const Tensor x = iota<float>({2, 3});
  const OpRun op{OpKind::kGather, {{"axis", int64_t{1}}}};
  EXPECT_EQ(elements<float>(op.first({x, i64s({-1, 0})})), (Floats{2, 0, 5, 3}));
  for (const int64_t bad : {int64_t{3}, int64_t{-4}, kMax, kMin}) {
    EXPECT_FALSE(op.run({x, i64s({bad})})) << bad;
    EXPECT_FALSE(OpRun{OpKind::kGatherND}.run({x, Tensor::of<int64_t>({1, 1}, {bad})})) << bad;
    EXPECT_FALSE((OpRun{OpKind::kGatherElements}.run({x, Tensor::of<int64_t>({1, 1}, {bad})})))
        << bad;
  }
  const Tensor words = Tensor::of<std::string>({2}, {"a", "b"});
  EXPECT_EQ(elements<std::string>(OpRun{OpKind::kGather}.first({words, i64s({1, 1})})),
            (std::vector<std::string>{"b", "b"}));
}

// The borrowed index tensor must not be changed in place.
TEST(Gather, LeavesNegativeIndicesAsTheyAre) {
  const Tensor indices = i64s({-1});
  OpRun{OpKind::kGather}.first({iota<float>({3}), indices});
  EXPECT_EQ(elements<int64_t>(indices), (Ints{-1}));
}

TEST(ScatterElements, ReducesAndChecks) {
  const Tensor x = Tensor::of<int8_t>({3}, {100, 1, 2});
  const Tensor indices = i64s({0, 0, -1}), updates = Tensor::of<int8_t>({3}, {100, 1, 9});
  const auto reduce = [&](const char* name) {
    const OpRun op{OpKind::kScatterElements, {{"reduction", std::string(name)}}};
    return elements<int8_t>(op.first({x, indices, updates}));
  };
  EXPECT_EQ(reduce("add"), (std::vector<int8_t>{-55, 1, 11}));  // wraps
  EXPECT_EQ(reduce("max"), (std::vector<int8_t>{100, 1, 9}));
  const OpRun op{OpKind::kScatterElements};
  EXPECT_FALSE(op.run({x, i64s({3, 0, 0}), updates}));
  EXPECT_FALSE(op.run({x, i64s({0, 0, 0}), iota<float>({3})}));
  EXPECT_FALSE(op.run({x, i64s({0, 0}), updates}));
}

TEST(Range, CountsWithoutOverflow) {
  const OpRun op{OpKind::kRange};
  const auto range = [&](int64_t a, int64_t b, int64_t step) {
    return op.run({Tensor::scalar(a), Tensor::scalar(b), Tensor::scalar(step)});
  };
  const auto far = range(kMin, kMax, kMax);
  ASSERT_TRUE(far);
  EXPECT_EQ(elements<int64_t>((*far)[0]), (Ints{kMin, -1, kMax - 1}));
  EXPECT_EQ(dims((*range(5, 1, 1))[0]), (Ints{0}));
  EXPECT_FALSE(range(0, 1, 0));
  EXPECT_FALSE(range(kMin, kMax, 1));
  const float nan = std::nanf("");
  EXPECT_FALSE(op.run({Tensor::scalar(0.0f), Tensor::scalar(nan), Tensor::scalar(1.0f)}));
  EXPECT_FALSE(op.run({Tensor::scalar(0.0f), Tensor::scalar(1e30f), Tensor::scalar(1.0f)}));
}

TEST(OneHot, SwitchesOffWhatIsOutOfRange) {
  const OpRun op{OpKind::kOneHot};
  EXPECT_EQ(elements<float>(op.first({i64s({1, -1, 7, kMin}), Tensor::scalar<int64_t>(2),
                                      Tensor::of<float>({2}, {0, 1})})),
            (Floats{0, 1, 0, 1, 0, 0, 0, 0}));
}

TEST(Unique, OrdersNansLastAndZerosAsOne) {
  const Tensor x = Tensor::of<float>({5}, {0.0f, std::nanf(""), -0.0f, -1, 0});
  const auto result = OpRun{OpKind::kUnique, {}, 4}.run({x});
  ASSERT_TRUE(result);
  EXPECT_EQ(dims((*result)[0]), (Ints{3}));
  EXPECT_EQ((*result)[0].data<float>()[0], -1);
  EXPECT_EQ(elements<int64_t>((*result)[2]), (Ints{1, 2, 1, 0, 1}));
  EXPECT_EQ(elements<int64_t>((*result)[3]), (Ints{1, 3, 1}));
  const Tensor words = Tensor::of<std::string>({3}, {"b", "a", "b"});
  const auto sorted = OpRun{OpKind::kUnique, {{"sorted", int64_t{0}}}, 2}.run({words});
  ASSERT_TRUE(sorted);
  EXPECT_EQ(elements<std::string>((*sorted)[0]), (std::vector<std::string>{"b", "a"}));
}

TEST(Resize, RejectsSenselessScales) {
  const Tensor x = iota<float>({1, 1, 2, 2});
  const OpRun op{OpKind::kResize, {{"mode", std::string("linear")}}};
  const auto with = [&](float scale) {
    return op.run({x, Tensor(), Tensor::of<float>({4}, {1, 1, scale, 1})}).has_value();
  };
  EXPECT_TRUE(with(0.5f));
  EXPECT_FALSE(with(0));
  EXPECT_FALSE(with(-1));
  EXPECT_FALSE(with(std::nanf("")));
  EXPECT_FALSE(with(std::numeric_limits<float>::infinity()));
  EXPECT_FALSE(with(1e9f));
  EXPECT_FALSE(op.run({x}));
  EXPECT_FALSE(op.run({x, Tensor(), Tensor(), i64s({1, 1, -2, 2})}));
  EXPECT_FALSE(op.run({x, Tensor(), Tensor(), i64s({1, 1, kMax, 2})}));
}

TEST(Resize, WorksOnIntegersAndChannelsLast) {
  const Tensor x = iota<uint8_t>({1, 2, 2, 2});
  const Tensor sizes = i64s({1, 2, 2, 3});
  const OpRun op{OpKind::kResize,
                 {{"mode", std::string("linear")},
                  {"coordinate_transformation_mode", std::string("align_corners")}}};
  EXPECT_EQ(elements<uint8_t>(op.first({x, Tensor(), Tensor(), sizes})),
            (std::vector<uint8_t>{0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7}));
  for (const char* mode : {"linear", "nearest", "cubic"}) {
    const Tensor image = iota<float>({1, 2, 3, 4});
    const OpRun plain{OpKind::kResize, {{"mode", std::string(mode)}}};
    const OpRun last{OpKind::kTranspose, {{"perm", Ints{0, 2, 3, 1}}}};
    const Tensor target = i64s({1, 2, 5, 3});
    const Tensor expected = last.first({plain.first({image, Tensor(), Tensor(), target})});
    const Tensor image_last = last.first({image});
    Tensor out = *Tensor::create(DType::kF32, expected.shape());
    TensorView views[] = {image_last.view(), {}, {}, target.view()};
    views[0].layout = Layout::kChannelsLast;
    views[0].shape = image.shape();
    TensorView outs[] = {out.view()};
    outs[0].layout = Layout::kChannelsLast;
    outs[0].shape = Shape{1, 2, 5, 3};
    const Node node{OpKind::kResize, {0, kNoValue, kNoValue, 1}, {2}, plain.attributes, ""};
    KernelContext context{node, views, outs};
    ASSERT_TRUE(run_reference(*find_op(OpKind::kResize), context));
    EXPECT_EQ(elements<float>(out), elements<float>(expected)) << mode;
  }
}

TEST(GridSample, SurvivesAnyCoordinate) {
  const Tensor x = iota<float>({1, 1, 2, 2}, 1);
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor grid = Tensor::of<float>({1, 1, 3, 2}, {inf, -inf, std::nanf(""), 0, 1e30f, 3});
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* padding : {"zeros", "border", "reflection"}) {
      for (const int64_t align : {0, 1}) {
        const OpRun op{OpKind::kGridSample,
                       {{"mode", std::string(mode)},
                        {"padding_mode", std::string(padding)},
                        {"align_corners", align}}};
        EXPECT_EQ(dims(op.first({x, grid})), (Ints{1, 1, 1, 3})) << mode << padding;
      }
    }
  }
}

TEST(RoiAlign, SurvivesAnyRegion) {
  const Tensor x = iota<float>({1, 1, 4, 4});
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor rois = Tensor::of<float>(
      {4, 4}, {0, 0, 1e30f, 1e30f, -1e18f, -1e18f, 1e18f, 1e18f, -inf, 0, inf, 1, 3, 3, 0, 0});
  const OpRun op{OpKind::kRoiAlign, {{"output_height", int64_t{2}}, {"output_width", int64_t{2}}}};
  EXPECT_EQ(dims(op.first({x, rois, i64s({0, 0, 0, 0})})), (Ints{4, 1, 2, 2}));
  EXPECT_FALSE(op.run({x, rois, i64s({0, 0, 0, 1})}));
  EXPECT_FALSE(op.run({x, rois, i64s({0, 0, 0})}));
}

// Two directions and unequal lengths: the backward one starts at each sequence's own end.
TEST(RNN, ReversesEachSequenceByItsLength) {
  const Tensor x = Tensor::of<float>({3, 2, 1}, {1, 10, 2, 20, 3, 30});
  const Tensor w = Tensor::of<float>({2, 1, 1}, {1, 1}), r = Tensor::of<float>({2, 1, 1}, {1, 1});
  const OpRun op{OpKind::kRNN,
                 {{"direction", std::string("bidirectional")},
                  {"activations", std::vector<std::string>{"Affine", "Affine"}},
                  {"activation_alpha", Floats{1, 1}},
                  {"activation_beta", Floats{0, 0}}},
                 2};
  const auto result = op.run({x, w, r, Tensor(), Tensor::of<int32_t>({2}, {3, 2})});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(elements<float>((*result)[0]), (Floats{1, 10, 6, 30, 3, 30, 5, 20, 6, 0, 3, 0}));
  EXPECT_EQ(elements<float>((*result)[1]), (Floats{6, 30, 6, 30}));
  EXPECT_FALSE(op.run({x, w, r, Tensor(), Tensor::of<int32_t>({2}, {4, 2})}));
}

TEST(NonMaxSuppression, KeepsTheBestOfEachCluster) {
  const Tensor boxes = Tensor::of<float>({1, 3, 4}, {0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 5, 1, 6});
  const Tensor scores = Tensor::of<float>({1, 1, 3}, {0.5f, 0.9f, std::nanf("")});
  const OpRun op{OpKind::kNonMaxSuppression};
  const Tensor limit = Tensor::scalar<int64_t>(kMax), iou = Tensor::scalar(0.5f);
  EXPECT_EQ(elements<int64_t>(op.first({boxes, scores, limit, iou, Tensor::scalar(0.0f)})),
            (Ints{0, 0, 1}));
  EXPECT_EQ(dims(op.first({boxes, scores})), (Ints{0, 3}));
}

}  // namespace
}  // namespace octavo
