// Mixed precision: which operators are converted, what the graph looks like, and that it computes
// the same but for rounding.
#include "core/quantization/mixed_precision.h"

#include <algorithm>
#include <cmath>

#include "core/octavo.h"
#include "core/passes/passes.h"
#include "runtime/kernels/half.h"
#include "tests/graph_builder.h"
#include "tests/kernel_check.h"

namespace octavo {
namespace {

std::vector<MixedNode> row_choices(const Graph& graph, DType dtype = DType::kBF16) {
  std::vector<MixedNode> nodes;
  for (const Node& node : graph.nodes) nodes.push_back({dtype, find_op(node.kind)->mixed.policy});
  return nodes;
}

struct Converted {
  Graph graph;
  std::vector<MixedNode> nodes;
};

Converted convert(const Graph& graph, DType dtype = DType::kBF16) {
  Converted made{.nodes = row_choices(graph, dtype)};
  auto result = convert_mixed(graph, made.nodes);
  EXPECT_TRUE(result) << result.error().to_string();
  if (!result) return made;
  made.graph = *std::move(result);
  const auto valid = validate(made.graph);
  EXPECT_TRUE(valid) << valid.error().to_string() << dump(made.graph);
  return made;
}

int count(const Graph& graph, OpKind kind) {
  return static_cast<int>(std::ranges::count(graph.nodes, kind, &Node::kind));
}

// Outputs of the graph as sessions run it. `steps`, if given, gets the names of the kernels.
std::vector<Tensor> run(const Graph& graph, std::vector<std::string>* steps = nullptr) {
  NamedTensors feeds;
  std::vector<TensorView> views;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    feeds.emplace_back(value.name, GraphBuilder::random_tensor(value.name, value.shape));
    views.push_back(feeds.back().second.view());
  }
  auto session = Model(std::make_shared<const Graph>(graph)).create_session();
  EXPECT_TRUE(session) << session.error().to_string();
  if (steps != nullptr) {
    for (const StepInfo& info : (*session->plan_for(views))->steps()) {
      steps->push_back(info.kernel);
    }
  }
  auto outputs = session->run(feeds);
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  std::vector<Tensor> tensors;
  if (outputs) {
    for (auto& [name, tensor] : *outputs) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

double sqnr_db(const Tensor& expected, const Tensor& actual) {
  EXPECT_EQ(expected.shape(), actual.shape());
  EXPECT_EQ(actual.dtype(), DType::kF32);
  double signal = 1e-30, noise = 1e-30;
  for (size_t i = 0; i < expected.data<float>().size(); ++i) {
    const double x = expected.data<float>()[i], d = x - actual.data<float>()[i];
    signal += x * x;
    noise += d * d;
  }
  return 10 * std::log10(signal / noise);
}

// Conv -> Relu -> MaxPool -> (Conv, Add) -> Flatten -> Gemm -> Softmax
Graph classifier() {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 3, 12, 12});
  const std::vector<int64_t> pads = {1, 1, 1, 1};
  const ValueId conv =
      b.node(OpKind::kConv, {x, b.random("w1", {16, 3, 3, 3}, 0.3f), b.random("b1", {16})}, "conv",
             {{"pads", pads}});
  const ValueId relu = b.node(OpKind::kRelu, {conv}, "relu");
  const ValueId pool = b.node(
      OpKind::kMaxPool, {relu}, "pool",
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const ValueId second = b.node(OpKind::kConv, {pool, b.random("w2", {16, 16, 3, 3}, 0.1f)},
                                "conv2", {{"pads", pads}});
  const ValueId add = b.node(OpKind::kAdd, {second, pool}, "add");
  const ValueId flat = b.node(OpKind::kFlatten, {add}, "flat");
  const ValueId gemm =
      b.node(OpKind::kGemm, {flat, b.random("w3", {10, 576}, 0.05f), b.random("b3", {10})}, "gemm",
             {{"transB", int64_t{1}}});
  return b.output(b.node(OpKind::kSoftmax, {gemm}, "softmax")).build();
}

TEST(MixedPrecision, ConvertsByTheRowsLists) {
  const Graph graph = classifier();
  const Converted made = convert(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const bool denied = graph.nodes[n].kind == OpKind::kSoftmax;
    EXPECT_EQ(made.nodes[n].converted, !denied) << graph.nodes[n].name;
  }
  EXPECT_EQ(made.nodes.back().reason, "the operator needs float32");
  // One Cast in, one before the Softmax.
  EXPECT_EQ(count(made.graph, OpKind::kCast), 2);
  EXPECT_EQ(made.graph.value(made.graph.inputs[0]).dtype, DType::kF32);
  EXPECT_EQ(made.graph.value(made.graph.outputs[0]).dtype, DType::kF32);
  EXPECT_EQ(constant_bytes(made.graph) * 2, constant_bytes(graph));
}

TEST(MixedPrecision, ComputesTheSameButForRounding) {
  const Graph graph = classifier();
  const auto expected = run(graph);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    std::vector<std::string> kernels;
    const auto actual = run(convert(graph, dtype).graph, &kernels);
    ASSERT_EQ(actual.size(), 1u);
    EXPECT_GT(sqnr_db(expected[0], actual[0]), dtype == DType::kBF16 ? 35 : 50);
    // Not by the slow reference functions.
    EXPECT_EQ(std::ranges::count(kernels, "reference"), 0);
  }
}

TEST(MixedPrecision, WhatFollowsADeniedOperatorStaysFloat) {
  GraphBuilder b;
  const ValueId x = b.input("x", {4, 8});
  const ValueId product = b.node(OpKind::kMatMul, {x, b.random("w", {8, 8})}, "product");
  const ValueId mean = b.node(OpKind::kReduceMean, {product, b.ints("axes", {1})}, "mean");
  const ValueId centred = b.node(OpKind::kSub, {product, mean}, "centred");
  const ValueId scaled = b.node(OpKind::kMul, {centred, b.random("gamma", {8})}, "scaled");
  const ValueId next = b.node(OpKind::kMatMul, {scaled, b.random("w2", {8, 8})}, "next");
  const ValueId sum = b.node(OpKind::kAdd, {next, product}, "sum");
  const Graph graph = b.output(sum).build();
  const Converted made = convert(graph);
  const bool expected[] = {true, false, false, false, true, true};
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    EXPECT_EQ(made.nodes[n].converted, expected[n]) << graph.nodes[n].name;
  }
  EXPECT_EQ(made.nodes[2].reason, "an operator that needs float32 comes before it");
  EXPECT_EQ(made.nodes[3].reason, made.nodes[2].reason);
}

TEST(MixedPrecision, TablesFollowTheirReaders) {
  GraphBuilder b;
  const ValueId ids = b.input("ids", {5}, DType::kI64);
  const ValueId rows = b.node(OpKind::kGather, {b.random("table", {20, 8}), ids}, "rows");
  const Graph graph =
      b.output(b.node(OpKind::kMatMul, {rows, b.random("w", {8, 8})}, "product")).build();
  const Converted made = convert(graph);
  EXPECT_TRUE(made.nodes[0].converted);
  EXPECT_EQ(constant_bytes(made.graph) * 2, constant_bytes(graph));
}

TEST(MixedPrecision, ConstantsThatOverflowFloat16KeepTheirNodeFloat) {
  GraphBuilder b;
  const ValueId x = b.input("x", {4, 8});
  const ValueId product = b.node(OpKind::kMatMul, {x, b.random("w", {8, 8})}, "product");
  const ValueId masked = b.node(OpKind::kAdd, {product, b.floats("mask", {1}, {-1e9f})}, "masked");
  const Graph graph = b.output(masked).build();
  EXPECT_EQ(convert(graph, DType::kF16).nodes[1].reason, "a constant does not fit float16");
  EXPECT_TRUE(convert(graph).nodes[1].converted);
}

TEST(MixedPrecision, CastsOfTheModelMerge) {
  GraphBuilder b;
  const ValueId x = b.input("x", {4, 8}, DType::kBF16);
  const ValueId real = b.node(OpKind::kCast, {x}, "real", {{"to", int64_t{1}}});
  const ValueId product = b.node(OpKind::kMatMul, {real, b.random("w", {8, 8})}, "product");
  Graph graph = convert(b.output(product).build()).graph;
  ASSERT_TRUE(run_passes(graph, mixed_passes()));
  EXPECT_EQ(count(graph, OpKind::kCast), 1) << dump(graph);  // the output's
}

TEST(MixedPrecision, FilesKeepHalfPrecision) {
  const Model model(std::make_shared<const Graph>(convert(classifier()).graph));
  const auto expected = run(model.graph());
  const auto compact = model.to_compact();
  ASSERT_TRUE(compact);
  const auto float_file = Model(std::make_shared<const Graph>(classifier())).to_compact();
  ASSERT_TRUE(float_file);
  EXPECT_LT(compact->size(), float_file->size() * 6 / 10);
  const auto onnx = model.to_onnx();
  ASSERT_TRUE(onnx);
  for (const auto& bytes : {*compact, *onnx}) {
    const auto again = Model::load(bytes);
    ASSERT_TRUE(again) << again.error().to_string();
    const auto actual = run(again->graph());
    ASSERT_EQ(actual.size(), 1u);
    EXPECT_GT(sqnr_db(expected[0], actual[0]), 45);
    EXPECT_EQ(constant_bytes(again->graph()), constant_bytes(model.graph()));
  }
}

// A quantized model's float rest.
TEST(MixedPrecision, TakesWhatQuantizationLeft) {
  const Graph graph = classifier();
  StaticQuantConfig config, left;
  left.act_dtype = "fp32";
  config.set_local("conv2", left).set_local("add", left).set_local("flat", left);
  class Loader final : public DataLoader {
   public:
    Result<std::optional<NamedTensors>> next() override {
      if (done_) return std::nullopt;
      done_ = true;
      NamedTensors feeds;
      feeds.emplace_back("x", GraphBuilder::random_tensor("x", {2, 3, 12, 12}));
      return feeds;
    }

   private:
    bool done_ = false;
  } loader;
  const auto quantized =
      quantize_model(Model(std::make_shared<const Graph>(graph)), config, &loader);
  ASSERT_TRUE(quantized) << quantized.error().to_string();
  Converted made = convert(quantized->model.graph());
  for (size_t n = 0; n < made.nodes.size(); ++n) {
    const Node& node = quantized->model.graph().nodes[n];
    if (node.name == "conv2" || node.name == "add") {
      EXPECT_TRUE(made.nodes[n].converted) << n;
    }
    if (node.name == "conv" || node.name == "gemm") {
      EXPECT_EQ(made.nodes[n].reason, "quantized") << node.name;
    }
  }
  // When it runs, the quantized neighbours read and write bf16 themselves.
  Graph fused = made.graph;
  ASSERT_TRUE(run_passes(fused, execution_passes()));
  EXPECT_EQ(count(fused, OpKind::kCast), 0) << dump(fused);
  EXPECT_GT(sqnr_db(run(quantized->model.graph())[0], run(made.graph)[0]), 25);
}

const NodeReport& report_of(const QuantizeReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.nodes, name, &NodeReport::name);
  if (found != report.nodes.end()) return *found;
  ADD_FAILURE() << "no report of " << name;
  static const NodeReport kNone;
  return kNone;
}

TEST(MixedPrecision, IsAStageThatNeedsNoData) {
  const Model model(std::make_shared<const Graph>(classifier()));
  MixedPrecisionConfig config, local;
  local.dtype = "fp32";
  config.set_local("conv2", local);
  config.deny_list = {"MaxPool"};
  const auto made = quantize_model(model, config, nullptr);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(report_of(made->report, "conv").weights, "bf16");
  EXPECT_TRUE(report_of(made->report, "relu").quantized);
  EXPECT_EQ(report_of(made->report, "relu").activations, "bf16");
  EXPECT_EQ(report_of(made->report, "pool").reason, "the operator needs float32");
  EXPECT_EQ(report_of(made->report, "conv2").reason, "dtype is fp32");
  EXPECT_TRUE(made->report.warnings.empty());

  config.deny_list = {"MaxPol"};
  const auto misspelt = quantize_model(model, config, nullptr);
  ASSERT_FALSE(misspelt);
  EXPECT_NE(misspelt.error().message.find("did you mean 'MaxPool'?"), std::string::npos);
  EXPECT_FALSE(quantize_model(model, MixedPrecisionConfig().set_local("nosuch", {}), nullptr));
}

TEST(MixedPrecision, StaticQuantizationTakesBf16ForSomeNodes) {
  const Model model(std::make_shared<const Graph>(classifier()));
  StaticQuantConfig config, local;
  local.act_dtype = "bf16";
  config.set_local("gemm", local);
  const CalibFunc calibrate = [](const auto& observe) -> Status {
    NamedTensors feeds;
    feeds.emplace_back("x", GraphBuilder::random_tensor("x", {2, 3, 12, 12}));
    return observe(feeds);
  };
  const auto made = quantize_model(model, config, nullptr, 1, calibrate);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(report_of(made->report, "gemm").activations, "bf16");
  EXPECT_EQ(report_of(made->report, "conv").activations, "uint8");
  EXPECT_EQ(report_of(made->report, "softmax").reason, "the operator has no integer form");
  EXPECT_GT(sqnr_db(run(model.graph())[0], run(made->model.graph())[0]), 20);

  // The same in two stages: what the first leaves float becomes bf16.
  config.local[0].config.act_dtype = "fp32";
  const auto staged =
      quantize_model(model, Recipe({config, MixedPrecisionConfig()}), nullptr, 1, calibrate);
  ASSERT_TRUE(staged) << staged.error().to_string();
  EXPECT_EQ(report_of(staged->report, "gemm").activations, "bf16");
  EXPECT_EQ(report_of(staged->report, "conv").activations, "uint8");
}

TEST(HalfRows, ConvertAsScalarsDoOnEveryTarget) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::mt19937 random(1);
  std::vector<float> reals(100'003);
  for (float& x : reals) x = std::bit_cast<float>(static_cast<uint32_t>(random()));
  for (size_t i = 0; i < 50'000; ++i) {  // what float16 has
    reals[i] = std::ldexp(static_cast<float>(random()) * 0x1p-32f, static_cast<int>(i % 50) - 30);
  }
  testing::for_each_target([&] {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      std::vector<float> wide(halves.size());
      kernels::widen_row(dtype, halves.data(), wide.data(), static_cast<int64_t>(wide.size()));
      std::vector<uint16_t> narrow(reals.size());
      kernels::narrow_row(dtype, reals.data(), narrow.data(), static_cast<int64_t>(reals.size()));
      const auto widen = [&](uint16_t bits) -> float {
        return dtype == DType::kBF16 ? std::bit_cast<float>(static_cast<uint32_t>(bits) << 16)
                                     : f16_bits_to_f32(bits);
      };
      size_t wrong = 0;
      for (size_t i = 0; i < wide.size(); ++i) {
        wrong += std::bit_cast<uint32_t>(wide[i]) !=
                 std::bit_cast<uint32_t>(widen(static_cast<uint16_t>(i)));
      }
      EXPECT_EQ(wrong, 0u);
      for (size_t i = 0; i < reals.size(); ++i) {
        const uint16_t expected =
            dtype == DType::kBF16 ? f32_to_bf16_bits(reals[i]) : f32_to_f16_bits(reals[i]);
        ASSERT_EQ(narrow[i], expected) << reals[i] << " " << dtype_name(dtype);
      }
    }
  });
}

}  // namespace
}  // namespace octavo
