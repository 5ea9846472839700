// Which output channels can saturate in vpmaddubsw, and what overflow_fix does to them.
#include "core/quantization/saturation.h"

#include "tests/quantized_model.h"

namespace octavo {
namespace {

std::vector<bool> channels(const Shape& shape, std::vector<int8_t> weights, std::vector<int> most) {
  std::vector<bool> can;
  for (const double share : saturation(Tensor::of<int8_t>(shape, weights), 0, most)) {
    can.push_back(share > 1);
  }
  return can;
}

TEST(Saturation, TwoLargestProductsDecide) {
  const std::vector<int> full{255};
  // 255 * (127 + 2) = 32895 > 32767; 255 * 128 = 32640; 255 * -129 = -32895 < -32768.
  EXPECT_EQ(channels({6, 4}, {127, 2,   0, 0,     //
                              127, 1,   1, 1,     //
                              1,   127, 0, -127,  // of other signs
                              -1,  0,   0, -128,  //
                              -1,  0,   0, -127,  //
                              65,  0,   0, 64},
                     full),
            (std::vector<bool>{true, false, false, true, false, true}));
  // Calibrated maxima: 255 * 127 + 100 * 4 = 32785, 255 * 127 + 100 * 3 = 32685, and an input that
  // is always zero.
  EXPECT_EQ(channels({3, 3}, {127, 4, 0, 127, 3, 0, 127, 0, 127}, {255, 100, 0}),
            (std::vector<bool>{true, false, false}));
}

// Depthwise: output c reads input c only.
TEST(Saturation, GroupsReadTheirOwnInputs) {
  EXPECT_EQ(channels({2, 1, 1, 2}, {100, 100, 100, 100}, {255, 150}),
            (std::vector<bool>{true, false}))
      << "25500 + 25500, 15000 + 15000";
  EXPECT_EQ(channels({2, 2, 1, 1}, {127, 127, 127, 127}, {255, 255, 100, 100}),
            (std::vector<bool>{true, false}));
}

TEST(Saturation, LargestIntegerOfAnActivation) {
  TensorQuant quant{DType::kU8, {{0.1f}, {128}}};
  EXPECT_EQ(largest_integer(2.0f, quant), 148);
  EXPECT_EQ(largest_integer(100.0f, quant), 255);
  quant = {DType::kI8, {{0.1f}, {-10}}};
  EXPECT_EQ(largest_integer(2.0f, quant), 128 + 10) << "as kernels see it: 20 - 10, plus 128";
}

// Channel 0 has one weight, which cannot overflow alone; channel 1 has equal ones, which do.
TEST(Saturation, OnlyChannelsThatCanOverflowLoseABit) {
  GraphBuilder b;
  Tensor weights = *Tensor::create(DType::kF32, Shape{2, 4, 1, 1});
  std::ranges::copy(std::vector<float>{0, 1.27f, 0, 0, 1.27f, 1.27f, 1.27f, 1.27f},
                    weights.data<float>().begin());
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const Graph graph = b.output(b.node(OpKind::kConv, {x, b.constant("w", weights)}, "y")).build();
  const auto scales = [&](bool fix, const char* granularity = "per_channel") {
    StaticQuantConfig config;
    config.overflow_fix = fix;
    config.weight_granularity = granularity;
    const Graph made = quantized(graph, config).model.graph();
    return made.value(made.find_value("w_quantized")).quant->scale;
  };
  EXPECT_FLOAT_EQ(scales(false)[1], 0.01f);
  EXPECT_FLOAT_EQ(scales(true)[0], 0.01f);
  // Two weights of 127: one bit, or as much of it as the largest inputs ask for.
  EXPECT_NEAR(scales(true)[1], 1.27f / 64, 5e-4);
  EXPECT_NEAR(scales(true, "per_tensor")[0], 1.27f / 64, 5e-4) << "one scale for all";
}

// 255 * (127 + 40) is 1.3 times what int16 holds: more than 7 bits are left.
TEST(Saturation, ChannelsLoseNoMoreThanTheyMust) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId w = b.floats("w", {1, 4, 1, 1}, {1.27f, 0, 0.4f, 0});
  const Graph graph = b.output(b.node(OpKind::kConv, {x, w}, "y")).build();
  StaticQuantConfig config;
  config.overflow_fix = true;
  const Graph made = quantized(graph, config).model.graph();
  const Value& weights = made.value(made.find_value("w_quantized"));
  const double share = saturation(weights.constant, 0, std::vector<int>{255})[0];
  EXPECT_NEAR(share, 1, 0.1) << "of inputs of 255; the largest are a little less";
  EXPECT_LT(weights.quant->scale[0], 1.27f / 64);
  EXPECT_GT(weights.quant->scale[0], 0.01f);
}

// Sums of two neighbouring products outside int16, in a run of the model.
class PairSums : public Observer {
 public:
  explicit PairSums(const Graph& graph) : graph_(graph) {}
  int64_t saturated = 0;

  bool wants(ValueId value) const override { return reader(value) != nullptr; }
  Status on_value(ValueId value, const TensorView& tensor) override {
    const Tensor& weights = graph_.value(reader(value)->inputs[1]).constant;
    const auto x = tensor.span<const uint8_t>();
    const auto w = weights.data<const int8_t>();
    const auto k = static_cast<size_t>(weights.shape()[1]);
    for (size_t row = 0; row < x.size(); row += k) {
      for (size_t output = 0; output < w.size(); output += k) {
        for (size_t i = 0; i < k; i += 2) {
          const int sum = x[row + i] * w[output + i] + x[row + i + 1] * w[output + i + 1];
          saturated += sum > 32767 || sum < -32768 ? 1 : 0;
        }
      }
    }
    return {};
  }

 private:
  const Node* reader(ValueId value) const {
    for (const Node& node : graph_.nodes) {
      if (node.kind == OpKind::kGemm && node.inputs[0] == value) return &node;
    }
    return nullptr;
  }
  const Graph& graph_;
};

// Layers whose inputs reach differently far, as they do in networks.
Graph uneven_layers() {
  GraphBuilder b;
  ValueId h = b.input("x", {32, 64});
  for (const char* name : {"a", "b", "c", "d"}) {
    Tensor weights = GraphBuilder::random_tensor(concat("w", name), {64, 64}, 0.2f);
    for (size_t i = 0; i < 64 * 64; ++i) {
      float& w = weights.data<float>()[i];
      w = w * w * w * 30 * std::exp2(-0.5f * static_cast<float>((i / 64 * 37) % 16));
    }
    h = b.node(OpKind::kGemm, {h, b.constant(concat("w", name), weights)}, name,
               {{"transB", int64_t{1}}, {"activation", std::string("Relu")}});
  }
  return b.output(h).build();
}

TEST(Saturation, CostsLessThanSevenBitsEverywhere) {
  const Graph graph = uneven_layers();
  StaticQuantConfig config;
  const QuantizedModel full = quantized(graph, config);
  config.reduce_range = true;
  const QuantizedModel reduced = quantized(graph, config);
  config.reduce_range = false;
  config.overflow_fix = true;
  const QuantizedModel fixed = quantized(graph, config);
  const double all = sqnr(graph, full), some = sqnr(graph, fixed), none = sqnr(graph, reduced);
  RecordProperty("decibels", concat(all, " ", some, " ", none));
  EXPECT_GT(some, none + 0.3);
  EXPECT_GT(all, some);

  const auto saturated = [&](const QuantizedModel& result) {
    PairSums sums(result.model.graph());
    auto session = result.model.create_session();
    EXPECT_TRUE(session) << session.error().to_string();
    RandomLoader data(graph, 8);  // what was calibrated on
    while (const auto feeds = *data.next()) {
      const auto ran = session->run(*feeds, &sums);
      EXPECT_TRUE(ran) << ran.error().to_string();
    }
    return sums.saturated;
  };
  EXPECT_GT(saturated(full), 0);
  EXPECT_EQ(saturated(fixed), 0);
}

}  // namespace
}  // namespace octavo
