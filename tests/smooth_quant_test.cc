// SmoothQuant: the float network stays, the quantized one gains.
#include "core/config/smooth_quant_config.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

// x -> LayerNormalization with a few large channels -> two MatMuls -> Add.
Graph outlier_channels() {
  GraphBuilder b;
  const ValueId x = b.input("x", {8, 32});
  Tensor gain = GraphBuilder::random_tensor("gain", {32}, 0.1f);
  for (size_t c = 0; c < 32; ++c) gain.data<float>()[c] = c % 8 == 3 ? 60.0f : 1.0f;
  const ValueId n =
      b.node(OpKind::kLayerNormalization, {x, b.constant("gain", gain), b.random("shift", {32})},
             "norm", {{"axis", int64_t{-1}}});
  Tensor w = GraphBuilder::random_tensor("w", {32, 16}, 0.2f);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t c = 3; c < 32; c += 8) w.data<float>()[c * 16 + i] *= 0.02f;
  }
  const ValueId p = b.node(OpKind::kMatMul, {n, b.constant("w", w)}, "p");
  const ValueId q = b.node(OpKind::kMatMul, {n, b.random("v", {32, 16}, 0.01f)}, "q");
  return b.output(b.node(OpKind::kAdd, {p, q}, "y")).build();
}

std::vector<OpKind> kinds(const Model& model) {
  std::vector<OpKind> list;
  for (const Node& node : model.graph().nodes) list.push_back(node.kind);
  return list;
}

TEST(SmoothQuant, TheFloatNetworkStays) {
  const Graph graph = outlier_channels();
  for (const bool folding : {true, false}) {
    SmoothQuantConfig config;
    config.folding = folding;
    const QuantizedModel result = quantized(graph, config);
    EXPECT_GT(sqnr(graph, result), 100) << folding;
    EXPECT_EQ(std::ranges::count(kinds(result.model), OpKind::kMul), folding ? 0 : 1)
        << "one Mul serves both products";
    EXPECT_NE(*result.model.to_onnx(), *Model(std::make_shared<const Graph>(graph)).to_onnx());
  }
}

TEST(SmoothQuant, QuantizationGains) {
  const Graph graph = outlier_channels();
  StaticQuantConfig after;
  const double before = sqnr(graph, quantized(graph, after));
  for (const std::optional<double> alpha : {std::optional(0.5), std::optional<double>()}) {
    SmoothQuantConfig config;
    config.alpha = alpha;
    const QuantizedModel result = quantized(graph, std::vector<QuantConfig>{config, after});
    EXPECT_GT(sqnr(graph, result), before + 3);
  }
}

TEST(SmoothQuant, AutoAlphaSearchesItsRange) {
  const Graph graph = outlier_channels();
  SmoothQuantConfig config, fixed;
  config.alpha.reset();
  config.alpha_min = config.alpha_max = 0.8;
  fixed.alpha = 0.8;
  EXPECT_EQ(sqnr(graph, quantized(graph, config)), sqnr(graph, quantized(graph, fixed)));
  config.alpha_min = 0;
  config.alpha_step = 0.1;
  config.shared_criterion = "max";
  EXPECT_NE(sqnr(graph, quantized(graph, config)), sqnr(graph, quantized(graph, fixed)));
}

TEST(SmoothQuant, OutputsOfConvolutionsAreDividedInTheirWeights) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 5, 5});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w1", {6, 4, 1, 1}), b.random("b1", {6})},
                           "c", {{"activation", std::string("Relu")}});
  const Graph graph =
      b.output(b.node(OpKind::kConv, {c, b.random("w2", {3, 6, 3, 3})}, "y")).build();
  const QuantizedModel result = quantized(graph, SmoothQuantConfig());
  EXPECT_EQ(kinds(result.model), (std::vector<OpKind>{OpKind::kMul, OpKind::kConv, OpKind::kConv}))
      << "the graph's input needs a Mul";
  EXPECT_GT(sqnr(graph, result), 100);
}

TEST(SmoothQuant, UnknownNamesAreErrors) {
  SmoothQuantConfig config;
  config.set_local("nrm", SmoothQuantConfig());
  EXPECT_EQ(quantize(outlier_channels(), config).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace octavo
