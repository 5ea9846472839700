// Passes against golden dumps (UPDATE_GOLDEN=1 rewrites them), and against the results of the graph
// as it was.
#include "core/passes/passes.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "runtime/session.h"
#include "tests/graph_builder.h"
#include "tests/paths.h"

namespace octavo {
namespace {

void expect_golden(const std::string& name, const Graph& graph) {
  const std::string path = source_path(concat("tests/golden/", name, ".txt"));
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(path) << dump(graph);
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  EXPECT_EQ(dump(graph), expected.str()) << "UPDATE_GOLDEN=1 rewrites " << path;
}

NamedTensors run(const Graph& graph) {
  NamedTensors feeds;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    feeds.emplace_back(value.name, GraphBuilder::random_tensor(value.name, value.shape));
  }
  auto session = Session::create(std::make_shared<const Graph>(graph), {.reference_only = true});
  EXPECT_TRUE(session) << session.error().to_string();
  auto outputs = session->run(feeds);
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  return outputs ? *outputs : NamedTensors();
}

void expect_close(const NamedTensors& expected, const NamedTensors& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(expected[i].first, actual[i].first);
    ASSERT_EQ(expected[i].second.shape(), actual[i].second.shape());
    const auto a = expected[i].second.data<const float>(), b = actual[i].second.data<const float>();
    for (size_t j = 0; j < a.size(); ++j) {
      ASSERT_NEAR(a[j], b[j], 1e-4 * std::max(1.0f, std::abs(a[j]))) << expected[i].first;
    }
  }
}

// Runs the passes; the results must stay the same but for rounding.
Graph optimized(const Graph& graph, std::span<const Pass> passes = optimize_passes()) {
  Graph after = graph;
  const auto status = run_passes(after, passes);
  EXPECT_TRUE(status) << status.error().to_string();
  const auto valid = validate(after);
  EXPECT_TRUE(valid) << valid.error().to_string() << dump(after);
  expect_close(run(graph), run(after));
  return after;
}

int count(const Graph& graph, OpKind kind) {
  return static_cast<int>(std::ranges::count(graph.nodes, kind, &Node::kind));
}

ValueId conv(GraphBuilder& b, ValueId x, const std::string& name, int64_t in, int64_t out,
             int64_t kernel = 3) {
  const int64_t pad = kernel / 2;
  return b.node(OpKind::kConv, {x, b.random(name + ".w", {out, in, kernel, kernel}, 0.2f)}, name,
                {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
}

ValueId batch_norm(GraphBuilder& b, ValueId x, const std::string& name, int64_t channels) {
  std::vector<float> variance;
  for (int64_t c = 0; c < channels; ++c) variance.push_back(0.5f + static_cast<float>(c));
  return b.node(
      OpKind::kBatchNormalization,
      {x, b.random(name + ".scale", {channels}), b.random(name + ".bias", {channels}),
       b.random(name + ".mean", {channels}), b.floats(name + ".var", {channels}, variance)},
      name);
}

TEST(Passes, ConvBatchNormRelu) {
  if (find_op(OpKind::kBatchNormalization) == nullptr) GTEST_SKIP();
  GraphBuilder b;
  ValueId x = b.input("x", {1, 3, 8, 8});
  x = b.node(OpKind::kRelu, {batch_norm(b, conv(b, x, "conv1", 3, 4), "bn1", 4)}, "relu1");
  x = b.node(OpKind::kClip,
             {batch_norm(b, conv(b, x, "conv2", 4, 4), "bn2", 4), b.floats("lo", {}, {0}),
              b.floats("hi", {}, {6})},
             "clip2");
  expect_golden("conv_batch_norm_relu", optimized(b.output(x).build()));
}

TEST(Passes, ConvScaleAndShift) {
  GraphBuilder b;
  ValueId x = conv(b, b.input("x", {1, 3, 8, 8}), "conv", 3, 4);
  x = b.node(OpKind::kMul, {x, b.random("scale", {4, 1, 1})}, "mul");
  x = b.node(OpKind::kAdd, {b.random("shift", {1, 4, 1, 1}), x}, "add");
  x = b.node(OpKind::kSub, {b.floats("one", {}, {1}), x}, "sub");
  x = b.node(OpKind::kDiv, {x, b.floats("two", {1}, {2})}, "div");
  const Graph graph = optimized(b.output(x).build());
  EXPECT_EQ(graph.nodes.size(), 1u) << dump(graph);
}

TEST(Passes, WhatIsNotPerChannelStays) {
  GraphBuilder b;
  ValueId x = conv(b, b.input("x", {1, 3, 4, 4}), "conv", 3, 4);
  x = b.node(OpKind::kAdd, {x, b.random("along_width", {4})}, "add");
  const Graph graph = optimized(b.output(x).build());
  EXPECT_EQ(count(graph, OpKind::kAdd), 1) << "4 numbers along the width are no channels";
}

TEST(Passes, GroupedTransposedConvolution) {
  if (find_op(OpKind::kBatchNormalization) == nullptr) GTEST_SKIP();
  GraphBuilder b;
  ValueId x = b.input("x", {1, 4, 5, 5});
  x = b.node(OpKind::kConvTranspose, {x, b.random("w", {4, 3, 2, 2}), b.random("b", {6})}, "deconv",
             {{"group", int64_t{2}}, {"strides", std::vector<int64_t>{2, 2}}});
  x = batch_norm(b, x, "bn", 6);
  EXPECT_EQ(optimized(b.output(x).build()).nodes.size(), 1u);
}

TEST(Passes, ASharedConvolutionIsNotScaled) {
  GraphBuilder b;
  const ValueId x = conv(b, b.input("x", {1, 3, 4, 4}), "conv", 3, 4);
  b.output(b.node(OpKind::kMul, {x, b.floats("two", {}, {2})}, "double"));
  b.output(b.node(OpKind::kRelu, {x}, "relu"));
  const Graph graph = optimized(b.build());
  EXPECT_EQ(graph.nodes.size(), 3u) << dump(graph);
}

TEST(Passes, MatMulAndGemmTakeBiasAndActivation) {
  GraphBuilder b;
  ValueId x = b.input("x", {2, 6});
  x = b.node(OpKind::kMatMul, {x, b.random("w1", {6, 5})}, "matmul");
  x = b.node(OpKind::kAdd, {x, b.random("b1", {5})}, "add1");
  x = b.node(OpKind::kRelu, {x}, "relu1");
  x = b.node(OpKind::kGemm, {x, b.random("w2", {5, 4}), b.random("b2", {1, 4})}, "gemm",
             {{"alpha", 0.5f}, {"beta", 2.0f}});
  expect_golden("matmul_gemm", optimized(b.output(x).build()));
}

TEST(Passes, NoopsDisappearAndOutputsKeepTheirNames) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 3, 4, 4});
  x = b.node(OpKind::kIdentity, {x}, "id1");
  x = b.node(OpKind::kDropout, {x}, "dropout", {}, 2);
  x = b.node(OpKind::kTranspose, {x}, "t1", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  x = b.node(OpKind::kTranspose, {x}, "t2", {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  x = b.node(OpKind::kMul, {x, b.floats("one", {1}, {1})}, "times_one");
  x = b.node(OpKind::kRelu, {x}, "relu");
  x = b.node(OpKind::kReshape, {x, b.ints("s1", {1, 48})}, "r1");
  x = b.node(OpKind::kReshape, {x, b.ints("s2", {3, 16})}, "r2");
  x = b.node(OpKind::kIdentity, {x}, "y");
  expect_golden("noops", optimized(b.output(x).build()));
}

TEST(Passes, AnInputThatIsAnOutputKeepsBothNames) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2});
  const Graph graph = optimized(b.output(b.node(OpKind::kIdentity, {x}, "y")).build());
  EXPECT_EQ(graph.value(graph.inputs[0]).name, "x");
  EXPECT_EQ(graph.value(graph.outputs[0]).name, "y");
}

TEST(Passes, ConstantsAreFoldedAndDuplicatesMerged) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 3});
  const ValueId a = b.node(OpKind::kAdd, {b.random("a1", {3}), b.random("a2", {3})}, "folded");
  const ValueId left = b.node(OpKind::kAdd, {x, a}, "left");
  const ValueId right = b.node(OpKind::kAdd, {x, a}, "right");
  b.node(OpKind::kRelu, {right}, "dead");
  expect_golden("fold_and_merge",
                optimized(b.output(b.node(OpKind::kMul, {left, right}, "y")).build()));
}

TEST(Passes, FoldingDoesNotBlowUpTheModel) {
  GraphBuilder b;
  const ValueId big =
      b.node(OpKind::kExpand, {b.floats("one", {1}, {1}), b.ints("s", {1 << 20})}, "big");
  const ValueId y = b.node(OpKind::kAdd, {b.input("x", {1}), big}, "y");
  const Graph graph = optimized(b.output(y).build());
  EXPECT_LT(constant_bytes(graph), 100) << dump(graph);
}

TEST(Passes, HardSwishPatterns) {
  GraphBuilder b;
  const auto gate = [&](ValueId x, const std::string& name) {
    const ValueId sum = b.node(OpKind::kAdd, {x, b.floats(name + ".3", {}, {3})}, name + ".add");
    return b.node(OpKind::kClip,
                  {sum, b.floats(name + ".0", {}, {0}), b.floats(name + ".6", {}, {6})},
                  name + ".clip");
  };
  const ValueId x = b.input("x", {2, 3});
  const ValueId product = b.node(OpKind::kMul, {x, gate(x, "a")}, "a.mul");
  const ValueId first = b.node(OpKind::kDiv, {product, b.floats("six", {}, {6})}, "first");
  const ValueId sigmoid =
      b.node(OpKind::kMul, {gate(first, "b"), b.floats("sixth", {}, {1.0f / 6})}, "b.sigmoid");
  const ValueId second = b.node(OpKind::kMul, {first, sigmoid}, "second");
  const Graph graph = optimized(b.output(second).build());
  EXPECT_EQ(count(graph, OpKind::kHardSwish), 2) << dump(graph);
  EXPECT_EQ(graph.nodes.size(), 2u) << dump(graph);
}

TEST(Passes, PadsJoinConvolutionsAndPools) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 2, 6, 6});
  x = b.node(OpKind::kPad, {x, b.ints("p1", {0, 0, 1, 0, 0, 0, 1, 2})}, "pad1");
  x = b.node(OpKind::kConv, {x, b.random("w", {3, 2, 3, 3})}, "conv");
  x = b.node(OpKind::kPad,
             {x, b.ints("p2", {1, 1, 1, 1}), b.floats("zero", {}, {0}), b.ints("axes", {2, 3})},
             "pad2");
  x = b.node(OpKind::kAveragePool, {x}, "pool", {{"kernel_shape", std::vector<int64_t>{2, 2}}});
  expect_golden("pads", optimized(b.output(x).build()));
}

TEST(Passes, PadsThatAreNotZeroStay) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 2, 6, 6});
  x = b.node(OpKind::kPad, {x, b.ints("p", {0, 0, 1, 1, 0, 0, 1, 1}), b.floats("one", {}, {1})},
             "pad");
  x = b.node(OpKind::kConv, {x, b.random("w", {3, 2, 3, 3})}, "conv");
  EXPECT_EQ(optimized(b.output(x).build()).nodes.size(), 2u);
}

// Every second pixel from (y, x) on, by one Slice or by two.
ValueId every_second(GraphBuilder& b, ValueId image, int64_t y, int64_t x, bool at_once) {
  const std::string name = concat("slice", y, x);
  const auto slice = [&](ValueId from, const std::string& part, std::vector<int64_t> starts,
                         std::vector<int64_t> axes) {
    const size_t count = axes.size();
    return b.node(OpKind::kSlice,
                  {from, b.ints(part + ".starts", std::move(starts)),
                   b.ints(part + ".ends", std::vector<int64_t>(count, INT64_MAX)),
                   b.ints(part + ".axes", std::move(axes)),
                   b.ints(part + ".steps", std::vector<int64_t>(count, 2))},
                  part);
  };
  if (at_once) return slice(image, name, {y, x}, {2, 3});
  return slice(slice(image, name + ".rows", {y}, {2}), name, {x}, {-1});
}

TEST(Passes, SpaceToDepthJoinsTheConvolution) {
  for (const bool as_slices : {false, true}) {
    SCOPED_TRACE(as_slices);
    GraphBuilder b;
    ValueId x = b.input("x", {2, 3, 8, 12});
    if (as_slices) {
      x = b.node(OpKind::kConcat,
                 {every_second(b, x, 0, 0, false), every_second(b, x, 1, 0, true),
                  every_second(b, x, 0, 1, false), every_second(b, x, 1, 1, true)},
                 "concat", {{"axis", int64_t{1}}});
    } else {
      x = b.node(OpKind::kSpaceToDepth, {x}, "blocks", {{"blocksize", int64_t{2}}});
    }
    x = b.node(
        OpKind::kConv, {x, b.random("w", {5, 12, 3, 2}), b.random("bias", {5})}, "conv",
        {{"pads", std::vector<int64_t>{1, 0, 1, 1}}, {"strides", std::vector<int64_t>{1, 2}}});
    const Graph after = optimized(b.output(x).build());
    expect_golden("space_to_depth", after);
  }
}

TEST(Passes, SlicesOfOtherPixelsStay) {
  for (const bool twice : {false, true}) {  // a pixel twice, or one of them missing
    GraphBuilder b;
    ValueId x = b.input("x", {1, 3, 8, 8});
    std::vector<ValueId> slices = {every_second(b, x, 0, 0, true), every_second(b, x, 0, 1, true),
                                   every_second(b, x, 1, 1, true)};
    if (twice) slices.push_back(slices[0]);
    x = b.node(OpKind::kConcat, slices, "concat", {{"axis", int64_t{1}}});
    x = conv(b, x, "conv", twice ? 12 : 9, 5);
    EXPECT_EQ(count(optimized(b.output(x).build()), OpKind::kSlice), 3);
  }
}

TEST(Passes, ResidualsJoinTheLaterConvolution) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId shortcut = conv(b, x, "shortcut", 4, 4, 1);
  const ValueId main =
      conv(b, b.node(OpKind::kRelu, {conv(b, x, "conv1", 4, 4)}, "relu1"), "conv2", 4, 4);
  const ValueId sum = b.node(OpKind::kAdd, {main, shortcut}, "sum");
  const ValueId y = b.node(OpKind::kRelu, {sum}, "y");
  const Graph graph = optimized(b.output(y).build());
  expect_golden("residual", optimized(graph, execution_passes()));
}

TEST(Passes, BroadcastSumsAreNoResiduals) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6}), row = b.input("row", {1, 4, 1, 6});
  const ValueId y = b.node(OpKind::kAdd, {conv(b, x, "conv", 4, 4), row}, "y");
  const Graph graph = optimized(b.output(y).build(), execution_passes());
  EXPECT_EQ(count(graph, OpKind::kAdd), 1);
}

TEST(Passes, CanBeStoppedAndDumped) {
  GraphBuilder b;
  Graph graph = b.output(b.node(OpKind::kRelu, {b.input("x", {2})}, "y")).build();
  std::vector<std::string> seen;
  ASSERT_TRUE(run_passes(graph, optimize_passes(),
                         {.stop_after = 2, .after = [&](const char* name, const Graph&) {
                            seen.emplace_back(name);
                          }}));
  EXPECT_EQ(seen, (std::vector<std::string>{"infer_shapes", "fold_constants"}));
}

}  // namespace
}  // namespace octavo
