#include "runtime/session.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/graph_builder.h"
#ifndef __EMSCRIPTEN__
#include "native/onednn/onednn.h"
#endif

namespace octavo {
namespace {

// Conv -> Relu -> Conv, added to the first convolution's output, which is used twice.
Graph residual_graph(int64_t batch) {
  GraphBuilder b;
  const ValueId x = b.input("x", {batch, 8, 9, 7});
  const std::vector<Attribute> same = {{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  const ValueId first = b.node(
      OpKind::kConv, {x, b.random("w1", {16, 8, 3, 3}), b.random("b1", {16})}, "conv1", same);
  const ValueId relu = b.node(OpKind::kRelu, {first}, "relu");
  const ValueId second =
      b.node(OpKind::kConv, {relu, b.random("w2", {16, 16, 3, 3})}, "conv2", same);
  const ValueId sum = b.node(OpKind::kAdd, {second, first}, "sum");
  const ValueId scaled = b.node(OpKind::kMul, {sum, b.random("per_channel", {16, 1, 1})}, "scaled");
  return b.output(scaled).output(first).build();
}

Session make_session(Graph graph, SessionOptions options = {}) {
  auto session =
      Session::create(std::make_shared<const Graph>(std::move(graph)), std::move(options));
  EXPECT_TRUE(session) << session.error().to_string();
  return *std::move(session);
}

void expect_near(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape().to_string(), b.shape().to_string());
  float largest = 0;
  for (const float v : a.data<float>()) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], largest * 1e-5f) << "element " << i;
  }
}

TEST(Session, EveryBackendGivesTheReferenceResult) {
  const NamedTensors feeds = {{"x", GraphBuilder::random_tensor("feed", {2, 8, 9, 7})}};
  const auto expected = make_session(residual_graph(2), {.reference_only = true}).run(feeds);
  ASSERT_TRUE(expected);
  std::vector<SessionOptions> all = {{}, {.last = make_deterministic_backend()}};
#ifndef __EMSCRIPTEN__
  all.push_back({.backends = {make_onednn_backend()}});
#endif
  for (const SessionOptions& options : all) {
    const auto outputs = make_session(residual_graph(2), options).run(feeds);
    ASSERT_TRUE(outputs) << outputs.error().to_string();
    for (size_t i = 0; i < expected->size(); ++i) {
      expect_near((*expected)[i].second, (*outputs)[i].second);
    }
  }
}

TEST(Session, TransposesBetweenLayoutsGiveTheReferenceResult) {
  const auto graph = [](bool watch_middle) {
    GraphBuilder b;
    const ValueId x = b.input("x", {2, 9, 7, 8});  // NHWC
    const std::vector<int64_t> to_nchw = {0, 3, 1, 2}, to_nhwc = {0, 2, 3, 1};
    const ValueId first = b.node(OpKind::kTranspose, {x}, "to_nchw", {{"perm", to_nchw}});
    const ValueId conv = b.node(OpKind::kConv, {first, b.random("w", {16, 8, 3, 3})}, "conv");
    const ValueId last = b.node(OpKind::kTranspose, {conv}, "to_nhwc", {{"perm", to_nhwc}});
    const ValueId sum = b.node(OpKind::kAdd, {last, b.random("bias", {16})}, "sum");
    b.output(sum).output(last);
    if (watch_middle) b.output(first);
    return b.build();
  };
  const NamedTensors feeds = {{"x", GraphBuilder::random_tensor("feed", {2, 9, 7, 8})}};
  for (const bool watch_middle : {false, true}) {
    const auto expected = make_session(graph(watch_middle), {.reference_only = true}).run(feeds);
    const auto actual = make_session(graph(watch_middle)).run(feeds);
    ASSERT_TRUE(expected && actual);
    for (size_t i = 0; i < expected->size(); ++i) {
      expect_near((*expected)[i].second, (*actual)[i].second);
    }
  }
}

// Maps of two sizes as rows of boxes, the way detectors end: pixels are renamed, not moved.
TEST(Session, ReshapesOfPixelsMoveNothing) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 8, 6});
  std::vector<ValueId> rows;
  for (const int64_t stride : {1, 2}) {
    const ValueId map =
        b.node(OpKind::kConv, {x, b.random("w" + std::to_string(stride), {16, 8, 1, 1})}, "map",
               {{"strides", std::vector<int64_t>{stride, stride}}});
    rows.push_back(b.node(OpKind::kReshape, {map, b.ints("shape", {1, 16, -1})}, "rows"));
  }
  const ValueId all = b.node(OpKind::kConcat, rows, "all", {{"axis", int64_t{2}}});
  const ValueId boxes =
      b.node(OpKind::kTranspose, {all}, "boxes", {{"perm", std::vector<int64_t>{0, 2, 1}}});
  const Graph graph = b.output(boxes).build();
  const NamedTensors feeds = {{"x", GraphBuilder::random_tensor("feed", {1, 8, 8, 6})}};
  const auto expected = make_session(graph, {.reference_only = true}).run(feeds);
  Session session = make_session(graph);
  const auto actual = session.run(feeds);
  ASSERT_TRUE(expected && actual);
  expect_near((*expected)[0].second, (*actual)[0].second);
  const TensorView view = feeds[0].second.view();
  std::vector<std::string> ops;
  for (const StepInfo& step : (*session.plan_for({&view, 1}))->steps()) ops.push_back(step.op);
  EXPECT_EQ(ops, (std::vector<std::string>{"Reorder", "Conv", "Conv", "Concat"}));
}

TEST(Session, ASymbolicBatchRunsAtAnySize) {
  Graph graph = residual_graph(1);
  const int64_t symbol = graph.symbol_dim("N");
  for (Value& value : graph.values) {
    if (!value.constant.present()) value.shape[0] = symbol;
  }
  Session session = make_session(std::move(graph));
  const Tensor three = GraphBuilder::random_tensor("feed", {3, 8, 9, 7});
  const auto together = session.run({{"x", three}});
  ASSERT_TRUE(together) << together.error().to_string();
  const int64_t input_size = 8 * 9 * 7, output_size = 16 * 9 * 7;
  for (int64_t n = 0; n < 3; ++n) {
    const auto one =
        session.run({{"x", Tensor::of<float>({1, 8, 9, 7}, three.data<float>().subspan(
                                                               static_cast<size_t>(n * input_size),
                                                               static_cast<size_t>(input_size)))}});
    ASSERT_TRUE(one);
    expect_near((*one)[0].second,
                Tensor::of<float>({1, 16, 9, 7}, std::as_const((*together)[0].second)
                                                     .data<float>()
                                                     .subspan(static_cast<size_t>(n * output_size),
                                                              static_cast<size_t>(output_size))));
  }
}

TEST(Session, ShapesMayDependOnData) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 6});
  const ValueId shape = b.input("shape", {2}, DType::kI64);
  const ValueId reshaped = b.node(OpKind::kReshape, {x, shape}, "reshaped");
  const ValueId relu = b.node(OpKind::kRelu, {reshaped}, "relu");
  Session session = make_session(b.output(relu).build());
  for (const int64_t rows : {3, 4}) {
    const auto out = session.run({{"x", GraphBuilder::random_tensor("x", {2, 6})},
                                  {"shape", Tensor::vector_i64(std::vector<int64_t>{rows, -1})}});
    ASSERT_TRUE(out) << out.error().to_string();
    EXPECT_EQ((*out)[0].second.shape(), (Shape{rows, 12 / rows}));
  }
}

TEST(Session, WrongFeedsAreRefusedByName) {
  Session session = make_session(residual_graph(1));
  const Tensor good = GraphBuilder::random_tensor("feed", {1, 8, 9, 7});
  const auto code_of = [&](const NamedTensors& feeds) {
    const auto result = session.run(feeds);
    EXPECT_FALSE(result);
    EXPECT_FALSE(result.error().tensor.empty());
    return result.error().code;
  };
  EXPECT_EQ(code_of({{"y", good}}), ErrorCode::kNotFound);
  EXPECT_EQ(code_of({}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of({{"x", good}, {"x", good}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of({{"x", GraphBuilder::random_tensor("feed", {1, 8, 9})}}),
            ErrorCode::kShapeMismatch);
  EXPECT_EQ(code_of({{"x", Tensor::of<int32_t>({1}, {1})}}), ErrorCode::kShapeMismatch);
  EXPECT_TRUE(session.run({{"x", good}}));  // and the session goes on working
}

TEST(Session, AnObserverSeesEachWantedValueAsComputed) {
  struct Recorder : Observer {
    const Graph* graph = nullptr;
    std::vector<std::pair<std::string, Tensor>> seen;
    bool wants(ValueId value) const override { return !graph->value(value).constant.present(); }
    Status on_value(ValueId value, const TensorView& tensor) override {
      seen.emplace_back(graph->value(value).name, *to_tensor(tensor));
      return {};
    }
  };
  const NamedTensors feeds = {{"x", GraphBuilder::random_tensor("feed", {1, 8, 9, 7})}};
  std::vector<Recorder> recorders(2);
  for (const bool reference : {false, true}) {
    Session session = make_session(residual_graph(1), {.reference_only = reference});
    Recorder& recorder = recorders[reference ? 1 : 0];
    recorder.graph = &session.graph();
    ASSERT_TRUE(session.run(feeds, &recorder));
  }
  ASSERT_EQ(recorders[0].seen.size(), 6u);  // x, conv1, relu, conv2, sum, scaled
  ASSERT_EQ(recorders[1].seen.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(recorders[0].seen[i].first, recorders[1].seen[i].first);
    expect_near(recorders[0].seen[i].second, recorders[1].seen[i].second);
  }
}

}  // namespace
}  // namespace octavo
