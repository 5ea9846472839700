// Scales and zero points against values computed by hand.
#include <gtest/gtest.h>

#include "core/quantization/params.h"

namespace octavo {
namespace {

struct Case {
  const char* name;
  Range range;
  bool sym;
  const char* dtype;
  DType out;
  float scale;
  int32_t zero_point;
  bool is_input = false;
};

TEST(QuantFormula, Activations) {
  const Case cases[] = {
      {"never negative, symmetric", {0.5f, 6.0f}, true, "int8", DType::kU8, 6.0f / 255, 0},
      {"signed, symmetric", {-1.27f, 0.5f}, true, "int8", DType::kU8, 0.01f, 128},
      {"input, symmetric", {-1.0f, 1.55f}, true, "int8", DType::kU8, 0.01f, 100, true},
      {"asymmetric u8", {-1.0f, 1.55f}, false, "uint8", DType::kU8, 0.01f, 100},
      {"asymmetric i8", {-1.0f, 1.55f}, false, "int8", DType::kI8, 0.01f, -28},
      {"widened to hold zero", {2.0f, 5.1f}, false, "uint8", DType::kU8, 0.02f, 0},
      {"all negative", {-5.1f, -2.0f}, false, "uint8", DType::kU8, 0.02f, 255},
      {"zero range", {0, 0}, true, "int8", DType::kU8, 1.0f, 0},
      {"zero range, asymmetric", {0, 0}, false, "int8", DType::kI8, 1.0f, 0},
      {"denormal range", {-1e-40f, 1e-40f}, true, "int8", DType::kU8, 1.0f, 128},
      {"huge range", {-3.4e38f, 1.7e38f}, false, "uint8", DType::kU8, 2e36f, 170},
      // 16 bits: symmetric int16 as TFLite's 16x8, zero point 0 whatever the sign.
      {"16x8", {-3.2767f, 1.0f}, true, "int16", DType::kI16, 1e-4f, 0},
      {"16x8, never negative", {0, 3.2767f}, true, "int16", DType::kI16, 1e-4f, 0},
      {"16x8, input", {-1.0f, 3.2767f}, true, "int16", DType::kI16, 1e-4f, 0, true},
      {"asymmetric i16", {-1.0f, 5.5535f}, false, "int16", DType::kI16, 1e-4f, -22768},
      {"asymmetric u16", {-1.0f, 5.5535f}, false, "uint16", DType::kU16, 1e-4f, 10000},
      {"signed, symmetric u16", {-3.2767f, 1.0f}, true, "uint16", DType::kU16, 1e-4f, 32768},
      {"never negative, u16", {0, 6.5535f}, true, "uint16", DType::kU16, 1e-4f, 0},
      // 4 bits
      {"asymmetric i4", {-0.5f, 1.0f}, false, "int4", DType::kI4, 0.1f, -3},
      {"asymmetric u4", {-0.5f, 1.0f}, false, "uint4", DType::kU4, 0.1f, 5},
      {"signed, symmetric u4", {-0.7f, 0.2f}, true, "int4", DType::kU4, 0.1f, 8},
      {"never negative, u4", {0, 1.5f}, true, "uint4", DType::kU4, 0.1f, 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    StaticQuantConfig config;
    config.act_sym = c.sym;
    config.act_dtype = c.dtype;
    const TensorQuant quant = activation_params(c.range, c.is_input, config);
    EXPECT_EQ(quant.dtype, c.out);
    EXPECT_FLOAT_EQ(quant.params.scale[0], c.scale);
    EXPECT_EQ(quant.params.zero_point[0], c.zero_point);
    EXPECT_TRUE(quant.params.per_tensor());
  }
}

TEST(QuantFormula, FixedRanges) {
  StaticQuantConfig config;
  EXPECT_EQ(fixed_params(1.0f / 256, false, config).params.zero_point[0], 0);
  EXPECT_EQ(fixed_params(1.0f / 128, true, config).params.zero_point[0], 128);
  config.act_dtype = "int8";
  EXPECT_EQ(fixed_params(1.0f / 256, false, config).dtype, DType::kI8);
  EXPECT_EQ(fixed_params(1.0f / 256, false, config).params.zero_point[0], -128);
  EXPECT_EQ(fixed_params(1.0f / 128, true, config).params.zero_point[0], 0);

  // TFLite's 16 bits: Softmax and Sigmoid 1 / 32768, Tanh 1 / 32768, zero points 0.
  config.act_sym = true;
  config.act_dtype = "int16";
  for (const TensorQuant& quant :
       {fixed_params(1.0f / 256, false, config), fixed_params(1.0f / 128, true, config)}) {
    EXPECT_EQ(quant.dtype, DType::kI16);
    EXPECT_EQ(quant.params.scale[0], 1.0f / 32768);
    EXPECT_EQ(quant.params.zero_point[0], 0);
  }
  config.act_dtype = "uint16";
  EXPECT_EQ(fixed_params(1.0f / 256, false, config).params.scale[0], 1.0f / 65536);
  EXPECT_EQ(fixed_params(1.0f / 128, true, config).params.zero_point[0], 32768);
  config.act_dtype = "uint4";
  EXPECT_EQ(fixed_params(1.0f / 256, false, config).params.scale[0], 1.0f / 16);
}

TEST(QuantFormula, SymmetricWeightsUseTheNarrowRange) {
  const Tensor weights = Tensor::of<float>(Shape{4}, {-1.27f, 0.005f, 0.635f, 1.0f});
  const auto quant = weight_params(weights, 0, StaticQuantConfig{});
  ASSERT_TRUE(quant);
  EXPECT_FLOAT_EQ(quant->params.scale[0], 0.01f);
  const Tensor integers = *quantize_tensor(weights, *quant);
  const auto q = integers.data<const int8_t>();
  EXPECT_EQ((std::vector<int>(q.begin(), q.end())), (std::vector<int>{-127, 0, 64, 100}))
      << "0.5 and 63.5 round to even";
}

TEST(QuantFormula, PerChannelAlongAnyAxis) {
  // Channels are columns: maxima 1.27, 12.7 and a dead one.
  const Tensor weights = Tensor::of<float>(Shape{2, 3}, {1.27f, -12.7f, 0, 0.1f, 1, 0});
  StaticQuantConfig config;
  config.weight_granularity = "per_channel";
  const auto quant = weight_params(weights, 1, config);
  ASSERT_TRUE(quant);
  ASSERT_EQ(quant->params.scale.size(), 3u);
  EXPECT_EQ(quant->params.axis, 1);
  EXPECT_FLOAT_EQ(quant->params.scale[0], 0.01f);
  EXPECT_FLOAT_EQ(quant->params.scale[1], 0.1f);
  EXPECT_EQ(quant->params.scale[2], kMinScale) << "a dead channel has a scale all the same";
  const Tensor integers = *quantize_tensor(weights, *quant);
  const auto q = integers.data<const int8_t>();
  EXPECT_EQ((std::vector<int>(q.begin(), q.end())), (std::vector<int>{127, -127, 0, 10, 10, 0}));
}

TEST(QuantFormula, OtherWeightSchemes) {
  const Tensor weights = Tensor::of<float>(Shape{2}, {-1.0f, 1.55f});
  StaticQuantConfig config;
  config.weight_dtype = "uint8";
  EXPECT_EQ(weight_params(weights, 0, config)->params.zero_point[0], 128);
  EXPECT_FLOAT_EQ(weight_params(weights, 0, config)->params.scale[0], 1.55f / 127);
  config.weight_sym = false;
  EXPECT_EQ(weight_params(weights, 0, config)->params.zero_point[0], 100);
  config.weight_dtype = "int8";
  EXPECT_EQ(weight_params(weights, 0, config)->params.zero_point[0], -28);
}

TEST(QuantFormula, WeightsOf16And4Bits) {
  const Tensor weights = Tensor::of<float>(Shape{2}, {-1.0f, 1.4f});
  struct WidthCase {
    const char* dtype;
    bool sym, narrow, reduced;
    DType out;
    float scale;
    int32_t zero_point;
  };
  const WidthCase cases[] = {
      {"int16", true, true, false, DType::kI16, 1.4f / 32767, 0},
      {"int16", true, false, false, DType::kI16, 1.4f / 32767.5f, 0},
      {"uint16", true, true, false, DType::kU16, 1.4f / 32767, 32768},
      // round(-32768 + 1 / scale), 1 / scale = 65535 / 2.4 = 27306.25
      {"int16", false, true, false, DType::kI16, 2.4f / 65535, -5462},
      {"int16", true, true, true, DType::kI16, 1.4f / 16384, 0},
      {"int4", true, true, false, DType::kI4, 0.2f, 0},
      {"int4", true, false, false, DType::kI4, 1.4f / 7.5f, 0},
      {"int4", true, true, true, DType::kI4, 0.35f, 0},
      {"uint4", true, true, false, DType::kU4, 0.2f, 8},
      {"uint4", false, true, false, DType::kU4, 0.16f, 6},
      {"int4", false, true, false, DType::kI4, 0.16f, -2},
  };
  for (const WidthCase& c : cases) {
    SCOPED_TRACE(concat(c.dtype, c.sym ? " symmetric" : "", c.reduced ? " reduced" : ""));
    StaticQuantConfig config;
    config.weight_dtype = c.dtype;
    config.weight_sym = c.sym;
    config.narrow_range = c.narrow;
    config.reduce_range = c.reduced;
    const auto quant = weight_params(weights, 0, config);
    ASSERT_TRUE(quant);
    EXPECT_EQ(quant->dtype, c.out);
    EXPECT_FLOAT_EQ(quant->params.scale[0], c.scale);
    EXPECT_EQ(quant->params.zero_point[0], c.zero_point);
  }
}

// By hand, from each toolkit's formulas: activations of [-1, 1.55] and of [0, 6], and weights of at
// most 1.27.
TEST(QuantFormula, Schemes) {
  struct SchemeCase {
    const char* scheme;
    DType dtype;
    float scale;
    int32_t zero_point;
    DType positive_dtype;
    float positive_scale;
    int32_t positive_zero_point;
    float weight_scale;
  };
  const SchemeCase cases[] = {
      // SCALED int8, as uint8 around 128: 1.55 / 127; quint8 if never negative: 6 / 255.
      {"tensorflow", DType::kU8, 1.55f / 127, 128, DType::kU8, 6.0f / 255, 0, 0.01f},
      {"mxnet", DType::kU8, 1.55f / 127, 128, DType::kU8, 6.0f / 255, 0, 0.01f},
      // reduce_range: 2.55 / 127, round(1 / scale) = round(49.8); weights 1.27 / 127.5.
      {"pytorch", DType::kU8, 2.55f / 127, 50, DType::kU8, 6.0f / 127, 0, 1.27f / 127.5f},
      {"ipex", DType::kU8, 0.01f, 100, DType::kU8, 6.0f / 255, 0, 1.27f / 127.5f},
      {"onnxruntime", DType::kU8, 0.01f, 100, DType::kU8, 6.0f / 255, 0, 0.01f},
      {"tflite", DType::kI8, 0.01f, -28, DType::kI8, 6.0f / 255, -128, 0.01f},
  };
  const Tensor weights = Tensor::of<float>(Shape{2}, {-1.27f, 0.5f});
  for (const SchemeCase& c : cases) {
    SCOPED_TRACE(c.scheme);
    StaticQuantConfig config;
    config.scheme = c.scheme;
    // What the scheme decides is set otherwise before.
    config.weight_dtype = "uint8";
    config.weight_sym = false;
    config.act_sym = !config.act_sym;
    config.reduce_range = true;
    apply_scheme(config);
    const TensorQuant quant = activation_params({-1.0f, 1.55f}, false, config);
    EXPECT_EQ(quant.dtype, c.dtype);
    EXPECT_FLOAT_EQ(quant.params.scale[0], c.scale);
    EXPECT_EQ(quant.params.zero_point[0], c.zero_point);
    const TensorQuant positive = activation_params({0.0f, 6.0f}, false, config);
    EXPECT_EQ(positive.dtype, c.positive_dtype);
    EXPECT_FLOAT_EQ(positive.params.scale[0], c.positive_scale);
    EXPECT_EQ(positive.params.zero_point[0], c.positive_zero_point);
    const auto weight = weight_params(weights, 0, config);
    ASSERT_TRUE(weight);
    EXPECT_EQ(weight->dtype, DType::kI8);
    EXPECT_FLOAT_EQ(weight->params.scale[0], c.weight_scale);
    EXPECT_EQ(weight->params.zero_point[0], 0);
  }
  StaticQuantConfig wide;
  wide.scheme = "tflite";
  wide.act_dtype = "int16";
  apply_scheme(wide);
  EXPECT_EQ(wide.act_dtype, "int16");
  EXPECT_TRUE(wide.act_sym) << "16x8 is symmetric";
  StaticQuantConfig tflite;
  tflite.scheme = "tflite";
  apply_scheme(tflite);
  const TensorQuant softmax = fixed_params(1.0f / 256, false, tflite);
  EXPECT_EQ(softmax.dtype, DType::kI8);
  EXPECT_EQ(softmax.params.scale[0], 1.0f / 256);
  EXPECT_EQ(softmax.params.zero_point[0], -128);
}

TEST(QuantFormula, ReducedAndFullRanges) {
  const Tensor weights = Tensor::of<float>(Shape{2}, {-1.28f, 0.5f});
  StaticQuantConfig config;
  config.reduce_range = true;
  EXPECT_FLOAT_EQ(weight_params(weights, 0, config)->params.scale[0], 0.02f) << "1.28 / 64";
  config.weight_sym = false;
  EXPECT_FLOAT_EQ(weight_params(weights, 0, config)->params.scale[0], 1.78f / 128);
  config = {};
  config.narrow_range = false;
  EXPECT_FLOAT_EQ(weight_params(weights, 0, config)->params.scale[0], 1.28f / 127.5f);
  config.act_reduce_range = config.act_sym = true;
  EXPECT_FLOAT_EQ(activation_params({-1.0f, 0.5f}, false, config).params.scale[0], 1.0f / 63);
}

TEST(QuantFormula, NaNWeightsAreAnError) {
  const Tensor weights = Tensor::of<float>(Shape{1, 2}, {1.0f, std::nanf("")});
  EXPECT_EQ(weight_params(weights, 0, StaticQuantConfig{}).error().code, ErrorCode::kInvalidModel);
  StaticQuantConfig config;
  config.weight_granularity = "per_channel";
  EXPECT_FALSE(weight_params(weights, 0, config));
}

TEST(QuantFormula, BiasLiesOnTheGridOfTheProducts) {
  const QuantParams weights{.scale = {0.5f, 0.25f}, .zero_point = {0, 0}, .axis = 0};
  const auto made = round_bias(Tensor::of<float>(Shape{2}, {1.02f, -1.01f}), 0.1f, weights);
  ASSERT_TRUE(made);
  EXPECT_FLOAT_EQ(made->data<const float>()[0], 20 * 0.05f);
  EXPECT_FLOAT_EQ(made->data<const float>()[1], -40 * 0.025f);
}

TEST(QuantFormula, WeightScaleGrowsUntilTheBiasFits) {
  // A dead channel: its scale is tiny, and 3 / (0.1 * 1e-12) is far outside int32.
  QuantParams weights{.scale = {0.01f, kMinScale}, .zero_point = {0, 0}, .axis = 0};
  const Tensor bias = Tensor::of<float>(Shape{2}, {3.0f, 3.0f});
  fit_bias(bias.data<const float>(), 0.1f, weights);
  EXPECT_FLOAT_EQ(weights.scale[0], 0.01f) << "the other channel is left alone";
  EXPECT_GT(weights.scale[1], kMinScale);
  EXPECT_LT(3.0 / (0.1 * static_cast<double>(weights.scale[1])), 2147483648.0);
}

}  // namespace
}  // namespace octavo
