// Static quantization to integers of 4 and 16 bits: what the graph becomes, that more bits are
// closer to the float model, files, and which kernels run.
#include <random>

#include "core/onnx/onnx.h"
#include "native/files.h"
#include "runtime/quantize_view.h"
#include "tests/kernel_check.h"
#include "tests/paths.h"
#include "tests/quantized_model.h"
#include "tools/digits/digits.h"

namespace octavo {
namespace {

StaticQuantConfig types(const char* activations, const char* weights) {
  StaticQuantConfig config;
  config.act_dtype = activations;
  config.weight_dtype = weights;
  return config;
}

Graph digits_network() {
  const auto file = map_file(source_path("tools/digits/digits.onnx"));
  EXPECT_TRUE(file) << file.error().to_string();
  const auto model = Model::load(file->bytes);
  EXPECT_TRUE(model) << model.error().to_string();
  return model->graph();
}

// The digits that calibration sees are those that results are compared on: of others some would lie
// outside the ranges, which no number of bits makes up for.
class DigitsLoader : public DataLoader {
 public:
  Result<std::optional<NamedTensors>> next() override {
    if (served_ == kCount) return std::nullopt;
    const digits::Sample drawn = digits::sample(3, static_cast<uint64_t>(served_++));
    Tensor image = *Tensor::create(DType::kF32, Shape{1, 1, digits::kSize, digits::kSize});
    std::ranges::copy(drawn.image, image.data<float>().begin());
    NamedTensors feeds;
    feeds.emplace_back("input", std::move(image));
    return feeds;
  }
  Status rewind() override {
    served_ = 0;
    return {};
  }

 private:
  static constexpr int kCount = 24;
  int served_ = 0;
};

QuantizedModel quantized_digits(const Graph& graph, const StaticQuantConfig& config) {
  DigitsLoader data;
  auto result = quantize_model(Model(std::make_shared<const Graph>(graph)), config, &data);
  EXPECT_TRUE(result) << result.error().to_string();
  return result ? *std::move(result) : QuantizedModel();
}

double digits_sqnr(const Graph& graph, const Model& model) {
  DigitsLoader data;
  const auto comparison = compare(Model(std::make_shared<const Graph>(graph)), model, data);
  EXPECT_TRUE(comparison) << comparison.error().to_string();
  return comparison ? comparison->outputs[0].sqnr_db : 0;
}

TEST(BitWidth, MoreBitsAreCloser) {
  const Graph graph = digits_network();
  const auto decibels = [&](const char* activations, const char* weights) {
    return digits_sqnr(graph, quantized_digits(graph, types(activations, weights)).model);
  };
  const double full = decibels("int16", "int16"), a16w8 = decibels("int16", "int8"),
               a8w8 = decibels("int8", "int8"), a8w4 = decibels("int8", "int4"),
               a4w4 = decibels("int4", "int4");
  RecordProperty("decibels", concat(full, " ", a16w8, " ", a8w8, " ", a8w4, " ", a4w4));
  EXPECT_GT(full, a16w8 + 20);
  EXPECT_GT(a16w8, a8w8 + 2);
  EXPECT_GT(a8w8, a8w4 + 6);
  EXPECT_GT(a8w4, a4w4 + 2);
  EXPECT_GT(a4w4, 3);
}

TEST(BitWidth, EveryTypeAndForm) {
  const Graph graph = digits_network();
  for (const char* activations : {"int16", "uint16"}) {
    for (const char* weights : {"int16", "uint16", "int8"}) {
      for (const bool sym : {true, false}) {
        StaticQuantConfig config = types(activations, weights);
        config.act_sym = config.weight_sym = sym;
        const QuantizedModel result = quantized_digits(graph, config);
        EXPECT_GT(digits_sqnr(graph, result.model), 40) << activations << weights << sym;
        EXPECT_EQ(result.report.nodes[0].activations, concat(activations, ", computed in float32"));
        EXPECT_EQ(result.report.nodes[0].weights, concat(weights, " per_channel"));
      }
    }
  }
}

// Files hold the integers, and are read into the same graph.
TEST(BitWidth, FilesKeepTheIntegers) {
  const Graph graph = digits_network();
  struct Case {
    const char *activations, *weights;
    DType activation_type, weight_type;
  };
  for (const Case& c : {Case{"int16", "int8", DType::kI16, DType::kI8},
                        Case{"uint16", "int16", DType::kU16, DType::kI16},
                        Case{"uint8", "int4", DType::kU8, DType::kI4},
                        Case{"uint4", "uint4", DType::kU4, DType::kU4}}) {
    SCOPED_TRACE(concat(c.activations, " x ", c.weights));
    const QuantizedModel result = quantized_digits(graph, types(c.activations, c.weights));
    const double decibels = digits_sqnr(graph, result.model);
    for (const auto& bytes : {result.model.to_onnx(), result.model.to_compact()}) {
      ASSERT_TRUE(bytes) << bytes.error().to_string();
      const auto loaded = Model::load(*bytes);
      ASSERT_TRUE(loaded) << loaded.error().to_string();
      int activations = 0, weights = 0;
      for (const Node& node : loaded->graph().nodes) {
        if (node.kind != OpKind::kConv && node.kind != OpKind::kGemm) continue;
        activations += loaded->graph().value(node.inputs[0]).dtype == c.activation_type;
        weights += loaded->graph().value(node.inputs[1]).dtype == c.weight_type;
      }
      EXPECT_GE(activations, 3);
      EXPECT_EQ(weights, activations);
      EXPECT_EQ(digits_sqnr(graph, *loaded), decibels);
    }
  }
}

// 16 bits: the float kernels, not reference functions; 4-bit weights beside 8 bits: the integer
// ones, with the bytes that the same integers give in 8 bits.
TEST(BitWidth, FastKernelsRun) {
  const Graph graph = digits_network();
  const auto kernels = [](const Model& model) {
    auto session = Session::create(std::make_shared<const Graph>(model.graph()));
    EXPECT_TRUE(session) << session.error().to_string();
    const Tensor image = *Tensor::create(DType::kF32, Shape{1, 1, digits::kSize, digits::kSize});
    const TensorView view = image.view();
    const auto plan = session->plan_for({&view, 1});
    EXPECT_TRUE(plan) << plan.error().to_string();
    std::string names;
    for (const StepInfo& step : (*plan)->steps()) names += concat(step.kernel, " ");
    return names;
  };
  const std::string wide = kernels(quantized_digits(graph, types("int16", "int8")).model);
  EXPECT_EQ(wide.find("reference"), std::string::npos) << wide;
  EXPECT_NE(wide.find("quantize_linear"), std::string::npos) << wide;

  const QuantizedModel narrow = quantized_digits(graph, types("int8", "int4"));
  EXPECT_EQ(kernels(narrow.model), kernels(quantized_digits(graph, types("int8", "int8")).model));
  Graph widened = narrow.model.graph();
  for (Value& value : widened.values) {
    if (value.dtype != DType::kI4) continue;
    Tensor bytes = *Tensor::create(DType::kI8, value.constant.shape());
    for (size_t i = 0; i < bytes.data<int8_t>().size(); ++i) {
      bytes.data<int8_t>()[i] =
          static_cast<int8_t>(static_cast<int>(value.constant.data<Int4>()[i]));
    }
    value.dtype = DType::kI8;
    value.constant = bytes;
  }
  EXPECT_EQ(digits_sqnr(narrow.model.graph(), Model(std::make_shared<const Graph>(widened))), 200);
}

// Observers see the integers of the graph that was given, and none of what execution adds to it.
TEST(BitWidth, ObserversSeeTheIntegers) {
  const Graph graph = digits_network();
  const QuantizedModel result = quantized_digits(graph, types("int16", "int8"));
  DigitsLoader data;
  const auto comparison = compare(Model(std::make_shared<const Graph>(graph)), result.model, data);
  ASSERT_TRUE(comparison) << comparison.error().to_string();
  EXPECT_GT(comparison->tensors.size(), 4u);
  for (const auto& tensor : comparison->tensors) EXPECT_GT(tensor.sqnr_db, 30) << tensor.tensor;
}

TEST(IntegerRows, QuantizeAsScalarsDoOnEveryTarget) {
  std::mt19937 random(5);
  std::vector<float> reals(4'003);
  for (float& x : reals) x = (static_cast<float>(random()) * 0x1p-31f - 1) * 40000;
  reals[17] = std::nanf("");
  reals[18] = 1e30f;
  reals[19] = -1e30f;
  const auto check = [&]<class T>(int32_t zero_point) {
    const QuantParams params{{0.73f}, {zero_point}};
    const auto count = static_cast<int64_t>(reals.size());
    Tensor integers = *Tensor::create(dtype_of<T>, Shape{count});
    ASSERT_TRUE(quantize_view(reals.data(), integers.view(&params)));
    std::vector<float> back(reals.size());
    ASSERT_TRUE(dequantize_view(integers.view(&params), back.data()));
    for (size_t i = 0; i < reals.size(); ++i) {
      const T q = quantize<T>(reals[i], 0.73f, zero_point);
      ASSERT_EQ(integers.data<T>()[i], q) << reals[i];
      ASSERT_EQ(back[i], dequantize(q, 0.73f, zero_point));
    }
  };
  testing::for_each_target([&] {
    check.template operator()<int16_t>(0);
    check.template operator()<int16_t>(-1234);
    check.template operator()<uint16_t>(32768);
    check.template operator()<int8_t>(-3);
    check.template operator()<uint8_t>(77);
  });
}

}  // namespace
}  // namespace octavo
