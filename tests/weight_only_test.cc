// Weight-only quantization: the algorithms against each other, storage, files.
#include "core/config/weight_only_config.h"
#include "core/quantization/weight_grid.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

// Inputs whose channels differ and go together, as GPTQ and AWQ want them: a first layer mixes 16
// sources into 64 channels, of which some are large.
Graph network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {32, 16});
  Tensor mix = GraphBuilder::random_tensor("mix", {16, 64}, 0.3f);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t c = 0; c < 64; c += 9) mix.data<float>()[i * 64 + c] *= 8;
  }
  const ValueId h = b.node(OpKind::kMatMul, {x, b.constant("mix", mix)}, "h");
  const ValueId y = b.node(OpKind::kMatMul, {h, b.random("w", {64, 48}, 0.1f)}, "y");
  return b.output(y).build();
}

template <class C>
C only_y() {
  C config;
  config.white_list = {"y"};
  return config;
}

const Value& value(const QuantizedModel& result, const std::string& name) {
  return result.model.graph().value(result.model.graph().find_value(name));
}

TEST(WeightOnly, WeightsAreStoredInGroups) {
  const Graph graph = network();
  const QuantizedModel result = quantized(graph, only_y<RTNConfig>());
  const Value w = value(result, "w_quantized");
  EXPECT_EQ(w.dtype, DType::kI4);
  EXPECT_EQ(w.quant->axis, 0);
  EXPECT_EQ(w.quant->block_size, 32);
  EXPECT_EQ(w.quant->scale.size(), 2u * 48);
  EXPECT_LT(result.report.quantized_bytes, result.report.float_bytes * 0.55);
  EXPECT_EQ(result.report.nodes[0].reason, "not in white_list");
  EXPECT_EQ(result.report.nodes[1].weights, "int4 group 32");
  EXPECT_GT(sqnr(graph, result), 12);
}

TEST(WeightOnly, MoreBitsAndSmallerGroupsAreCloser) {
  const Graph graph = network();
  double last = 0;
  for (const int bits : {1, 2, 4, 8}) {
    auto config = only_y<RTNConfig>();
    config.weight_bits = bits;
    const double db = sqnr(graph, quantized(graph, config));
    EXPECT_GT(db, last + 2) << bits << " bits";
    last = db;
  }
  EXPECT_GT(last, 35) << "8 bits";
  auto whole = only_y<RTNConfig>(), small = only_y<RTNConfig>();
  whole.weight_group_size = -1;
  small.weight_group_size = 8;
  EXPECT_GT(sqnr(graph, quantized(graph, small)), sqnr(graph, quantized(graph, whole)) + 1);
}

TEST(WeightOnly, BinaryAndTernaryWeights) {
  const Graph graph = network();
  for (const int bits : {1, 2}) {
    auto config = only_y<RTNConfig>();
    config.weight_bits = bits;
    const QuantizedModel result = quantized(graph, config);
    for (const Int4 q : value(result, "w_quantized").constant.data<const Int4>()) {
      EXPECT_LE(std::abs(static_cast<int>(q)), 1);
      if (bits == 1) {
        EXPECT_NE(static_cast<int>(q), 0);
      }
    }
  }
}

TEST(WeightOnly, GptqIsCloserThanRounding) {
  const Graph graph = network();
  const double rtn = sqnr(graph, quantized(graph, only_y<RTNConfig>()));
  auto config = only_y<GPTQConfig>();
  EXPECT_GT(sqnr(graph, quantized(graph, config)), rtn + 3);
  config.actorder = true;
  EXPECT_GT(sqnr(graph, quantized(graph, config)), rtn + 3);
  config.percdamp = 1;
  EXPECT_NE(sqnr(graph, quantized(graph, config)), rtn);
}

TEST(WeightOnly, AwqAndHqqAreCloserThanRounding) {
  const Graph graph = network();
  const double rtn = sqnr(graph, quantized(graph, only_y<RTNConfig>()));
  auto awq = only_y<AWQConfig>();
  awq.enable_mse_search = false;
  const double scaled = sqnr(graph, quantized(graph, awq));
  EXPECT_GT(scaled, rtn + 0.5);
  awq.enable_mse_search = true;
  EXPECT_GT(sqnr(graph, quantized(graph, awq)), rtn + 0.5);
  auto asymmetric = only_y<RTNConfig>();
  asymmetric.weight_sym = false;
  // HQQ makes |error|^p small, not the square: it must not be far off either.
  EXPECT_GT(sqnr(graph, quantized(graph, only_y<HQQConfig>())),
            sqnr(graph, quantized(graph, asymmetric)) - 3);
}

// One outlier in a group: HQQ's scale serves the many, not the one.
TEST(WeightOnly, HqqLessensTheErrorsNorm) {
  WeightMatrix m{.rows = 1, .columns = 32, .group = 32};
  for (int i = 0; i < 32; ++i) m.real.push_back(0.31f + 0.001f * static_cast<float>(i));
  m.real[7] = 2;
  m.integers.resize(32);
  m.params.resize(1);
  const WeightGrid grid{.bits = 4, .symmetric = false};
  const auto norm = [&] {
    double sum = 0;
    for (size_t i = 0; i < 32; ++i) {
      const int q = static_cast<uint8_t>(m.integers[i]);
      sum += std::pow(std::fabs(m.real[i] - grid.dequantize(q, m.params[0])), 0.7);
    }
    return sum;
  };
  round_to_nearest(m, grid, nullptr);
  const double before = norm();
  half_quadratic(m, grid, {}, nullptr);
  EXPECT_LT(norm(), 0.8 * before);
}

TEST(WeightOnly, ConvolutionsAndRecurrentLayers) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 6, 6});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("wc", {16, 8, 1, 1}, 0.3f)}, "conv1x1");
  const ValueId d = b.node(OpKind::kConv, {c, b.random("wd", {4, 16, 3, 3}, 0.1f)}, "conv3x3");
  const ValueId r =
      b.node(OpKind::kReshape,
             {d, b.constant("to", Tensor::vector_i64(std::vector<int64_t>{4, 1, 16}))}, "sequence");
  const ValueId g =
      b.node(OpKind::kGRU, {r, b.random("wg", {1, 24, 16}, 0.2f), b.random("rg", {1, 24, 8}, 0.2f)},
             "gru", {{"hidden_size", int64_t{8}}});
  const Graph graph = b.output(g).build();
  const QuantizedModel result = quantized(graph, GPTQConfig());
  EXPECT_EQ(value(result, "wc_quantized").quant->axis, 1);
  EXPECT_EQ(value(result, "wg_quantized").dtype, DType::kI4);
  EXPECT_EQ(value(result, "rg_quantized").dtype, DType::kI4);
  EXPECT_FALSE(result.report.nodes[1].quantized);
  EXPECT_GT(sqnr(graph, result), 8);
}

TEST(WeightOnly, FilesKeepTheIntegers) {
  const Graph graph = network();
  for (const bool symmetric : {true, false}) {
    auto config = only_y<RTNConfig>();
    config.weight_sym = symmetric;
    config.weight_group_size = 24;  // the last group is shorter
    const QuantizedModel result = quantized(graph, config);
    for (const auto& bytes : {result.model.to_onnx(), result.model.to_compact()}) {
      ASSERT_TRUE(bytes) << bytes.error().to_string();
      const auto loaded = Model::load(*bytes);
      ASSERT_TRUE(loaded) << loaded.error().to_string();
      EXPECT_LT(constant_bytes(loaded->graph()), constant_bytes(graph) * 0.6);
      EXPECT_EQ(sqnr(graph, *loaded), sqnr(graph, result.model));
    }
  }
}

TEST(WeightOnly, TheLastLayerCanStayFloat) {
  RTNConfig config;
  config.quant_last_matmul = false;
  const QuantizedModel result = quantized(network(), config);
  EXPECT_TRUE(result.report.nodes[0].quantized);
  EXPECT_EQ(result.report.nodes[1].reason, "quant_last_matmul is false");
}

TEST(WeightOnly, RoundingNeedsNoData) {
  const Graph graph = network();
  const Model model(std::make_shared<const Graph>(graph));
  EXPECT_TRUE(quantize_model(model, RTNConfig(), nullptr));
  EXPECT_TRUE(quantize_model(model, HQQConfig(), nullptr));
  EXPECT_FALSE(quantize_model(model, GPTQConfig(), nullptr));
}

TEST(WeightGrid, ScalesAndZeroPoints) {
  const std::vector<float> group = {-1.6f, 0.7f, 1.4f};
  EXPECT_FLOAT_EQ((WeightGrid{.bits = 4}.choose(group).scale), 0.2f) << "-1.6 is -8, 1.4 is 7";
  const ScaleZero asymmetric = WeightGrid{.bits = 4, .symmetric = false}.choose(group);
  EXPECT_FLOAT_EQ(asymmetric.scale, 0.2f);
  EXPECT_EQ(asymmetric.zero_point, 8);
  EXPECT_FLOAT_EQ((WeightGrid{.bits = 1}.choose(group).scale), 3.7f / 3) << "mean magnitude";
  EXPECT_EQ((WeightGrid{.bits = 8}.low()), -128);
  EXPECT_EQ((WeightGrid{.bits = 4}.choose(std::vector<float>{0, 0}).scale), kMinScale);
}

}  // namespace
}  // namespace octavo
