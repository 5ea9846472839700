// Dynamic quantization, in ONNX's own operators.
#include "core/config/dynamic_quant_config.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

Graph network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 3, 8, 8});
  const ValueId c =
      b.node(OpKind::kConv, {x, b.random("w1", {8, 3, 3, 3}, 0.2f), b.random("b1", {8}, 0.1f)}, "c",
             {{"pads", std::vector<int64_t>{1, 1, 1, 1}},
              {"activation", std::string("Clip")},
              {"activation_params", std::vector<float>{0, 2}}});
  const ValueId f = b.node(OpKind::kFlatten, {c}, "f");
  const ValueId g =
      b.node(OpKind::kGemm, {f, b.random("w2", {16, 512}, 0.05f), b.random("b2", {16}, 0.1f)}, "g",
             {{"transB", int64_t{1}}, {"activation", std::string("Relu")}});
  return b.output(b.node(OpKind::kMatMul, {g, b.random("w3", {16, 5}, 0.2f)}, "y")).build();
}

TEST(DynamicQuant, EveryScheme) {
  const Graph graph = network();
  const Model model(std::make_shared<const Graph>(graph));
  for (const char* dtype : {"int8", "uint8"}) {
    for (const bool symmetric : {true, false}) {
      for (const char* granularity : {"per_tensor", "per_channel"}) {
        DynamicQuantConfig config;
        config.weight_dtype = dtype;
        config.weight_sym = symmetric;
        config.weight_granularity = granularity;
        const auto result = quantize_model(model, config, nullptr);  // needs no data
        ASSERT_TRUE(result) << result.error().to_string();
        EXPECT_GT(sqnr(graph, *result), 22) << dtype << symmetric << granularity;
        EXPECT_LT(result->report.quantized_bytes, result->report.float_bytes * 0.35);
        const auto loaded = Model::load(*result->model.to_onnx());
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        EXPECT_GT(sqnr(graph, *loaded), 22);
      }
    }
  }
}

TEST(DynamicQuant, WhatStaysFloatIsSaid) {
  DynamicQuantConfig config, fp32;
  fp32.weight_dtype = "fp32";
  config.set_local("c", fp32);
  const QuantizedModel result = quantized(network(), config);
  EXPECT_EQ(result.report.nodes[0].reason, "weight_dtype is fp32");
  EXPECT_TRUE(result.report.nodes[2].quantized);
  EXPECT_EQ(result.report.nodes[2].activations, "uint8 dynamic");
}

}  // namespace
}  // namespace octavo
