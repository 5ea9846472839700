// Deterministic sessions: float results are the same bits whatever the SIMD target and the threads.
#include <bit>

#include "core/octavo.h"
#include "tests/graph_builder.h"
#include "tests/kernel_check.h"
#include "tests/random_loader.h"

namespace octavo {
namespace {

// Convolutions (dense, grouped, depthwise, strided, padded), a residual, pools, functions,
// products.
Graph network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 3, 17, 15});
  const std::vector<Attribute> same = {{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  const ValueId c1 =
      b.node(OpKind::kConv, {x, b.random("w1", {24, 3, 3, 3}), b.random("b1", {24})}, "c1", same);
  const ValueId s = b.node(OpKind::kSigmoid, {c1}, "sigmoid");
  const ValueId m = b.node(OpKind::kMul, {c1, s}, "mul");
  const ValueId dense = b.node(OpKind::kConv, {m, b.random("w5", {24, 24, 3, 3})}, "dense", same);
  const ValueId depthwise =
      b.node(OpKind::kConv, {dense, b.random("w2", {24, 1, 3, 3})}, "depthwise",
             {{"group", int64_t{24}},
              {"pads", std::vector<int64_t>{1, 1, 1, 1}},
              {"strides", std::vector<int64_t>{2, 2}}});
  const ValueId grouped = b.node(OpKind::kConv, {depthwise, b.random("w3", {24, 12, 1, 1})},
                                 "grouped", {{"group", int64_t{2}}});
  const ValueId sum = b.node(OpKind::kAdd, {grouped, depthwise}, "sum");
  const ValueId relu = b.node(OpKind::kRelu, {sum}, "relu");
  const ValueId pool = b.node(OpKind::kGlobalAveragePool, {relu}, "pool");
  const ValueId flat = b.node(OpKind::kFlatten, {pool}, "flat");
  const ValueId y = b.node(OpKind::kGemm, {flat, b.random("w4", {24, 11})}, "y");
  const ValueId t = b.node(OpKind::kTanh, {y}, "tanh");
  return b.output(t).output(y).output(sum).build();
}

NamedTensors run(const std::shared_ptr<ThreadPool>& pool) {
  static const Model model(std::make_shared<const Graph>(network()));
  auto session = model.create_session({.pool = pool, .last = make_deterministic_backend()});
  EXPECT_TRUE(session) << session.error().to_string();
  auto outputs = session->run({{"x", GraphBuilder::random_tensor("feed", {2, 3, 17, 15}, 0.3f)}});
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  return *std::move(outputs);
}

// As 64 bits (FNV-1a).
uint64_t hash(const NamedTensors& tensors) {
  uint64_t h = 0xcbf29ce484222325;
  for (const auto& [name, tensor] : tensors) {
    for (const float value : tensor.data<float>()) {
      h = (h ^ std::bit_cast<uint32_t>(value)) * 0x100000001b3;
    }
  }
  return h;
}

TEST(Deterministic, TheSameBitsOnEveryTargetAndWithThreads) {
  const uint64_t expected = hash(run(nullptr));
  testing::for_each_target([&] {
    EXPECT_EQ(hash(run(nullptr)), expected);
    EXPECT_EQ(hash(run(std::make_shared<testing::FakePool>())), expected);
  });
}

// A layer whose float sums differ in their last bits between instruction sets, one that smoothing
// and weight-only algorithms look at, and what they decide.
Bytes quantized(const char* recipe, const std::shared_ptr<ThreadPool>& pool) {
  GraphBuilder b;
  const ValueId x = b.input("x", {8, 96});
  const ValueId h = b.node(OpKind::kMatMul, {x, b.random("w1", {96, 64}, 0.3f)}, "h");
  const ValueId s = b.node(OpKind::kSigmoid, {h}, "s");
  const ValueId m = b.node(OpKind::kMul, {h, s}, "m");
  const ValueId y = b.node(OpKind::kMatMul, {m, b.random("w2", {64, 32}, 0.3f)}, "y");
  const Model model(std::make_shared<const Graph>(b.output(y).build()));
  RandomLoader data(model.graph(), 6);
  const auto made = quantize_model(model, *Recipe::from_json(recipe), &data, 6, {},
                                   {.pool = pool, .deterministic = true});
  EXPECT_TRUE(made) << recipe << made.error().to_string();
  return made ? *made->model.to_compact() : Bytes();
}

TEST(Deterministic, EveryStageMakesTheSameFileOnEveryTargetAndWithThreads) {
  for (const char* recipe : {R"([{"smooth_quant": {"alpha": "auto"}}, {"static_quant": {}}])",
                             R"([{"smooth_quant": {"folding": false}}, {"dynamic_quant": {}}])",
                             R"({"static_quant": {"rounding": "adaround", "rounding_iters": 40}})",
                             R"({"rtn": {}})", R"({"gptq": {"actorder": true}})", R"({"awq": {}})",
                             R"({"hqq": {}})", R"({"adaround": {"rounding_iters": 40}})"}) {
    SCOPED_TRACE(recipe);
    const Bytes expected = quantized(recipe, nullptr);
    testing::for_each_target([&] {
      EXPECT_TRUE(quantized(recipe, nullptr) == expected);
      EXPECT_TRUE(quantized(recipe, std::make_shared<testing::FakePool>()) == expected);
    });
  }
}

}  // namespace
}  // namespace octavo
