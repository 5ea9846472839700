// Models whose inputs and outputs are integers, and the mode that leaves no operator float.
#include <cmath>

#include "core/octavo.h"
#include "runtime/quant.h"
#include "tests/graph_builder.h"

namespace octavo {
namespace {

class Samples : public DataLoader {
 public:
  Result<std::optional<NamedTensors>> next() override {
    if (served_ == 12) return std::nullopt;
    NamedTensors feeds;
    feeds.emplace_back("x", GraphBuilder::random_tensor(concat("x", served_++), {1, 3, 8, 8}));
    return feeds;
  }

 private:
  int served_ = 0;
};

Model conv_then(OpKind kind) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 8, 8});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w", {4, 3, 3, 3}, 0.2f)}, "conv");
  return Model(std::make_shared<const Graph>(b.output(b.node(kind, {c}, "y")).build()));
}

Result<QuantizedModel> quantize_samples(const Model& model, const StaticQuantConfig& config) {
  Samples data;
  return quantize_model(model, config, &data);
}

template <class T>
void expect_integer_io(const StaticQuantConfig& config) {
  const Model model = conv_then(OpKind::kRelu);
  const auto small = quantize_samples(model, config);
  ASSERT_TRUE(small) << small.error().to_string();
  const Graph& graph = small->model.graph();
  const Value &in = graph.value(graph.inputs[0]), &out = graph.value(graph.outputs[0]);
  EXPECT_EQ(in.name, "x");
  EXPECT_EQ(out.name, "y");
  EXPECT_EQ(in.dtype, dtype_of<T>);
  EXPECT_EQ(out.dtype, dtype_of<T>);
  for (const Node& node : graph.nodes) {
    EXPECT_NE(node.kind, OpKind::kQuantizeLinear);
    EXPECT_NE(node.kind, OpKind::kDequantizeLinear);
  }

  const Tensor real = GraphBuilder::random_tensor("fresh", {1, 3, 8, 8});
  Tensor integers = *Tensor::create(dtype_of<T>, real.shape());
  for (size_t i = 0; i < integers.data<T>().size(); ++i) {
    integers.data<T>()[i] =
        quantize<T>(real.data<const float>()[i], in.quant->scale[0], in.quant->zero_point[0]);
  }
  const QuantParams params = *out.quant;
  auto session = small->model.create_session();
  ASSERT_TRUE(session) << session.error().to_string();
  const auto got = session->run({{"x", integers}});
  ASSERT_TRUE(got) << got.error().to_string();
  const auto wanted = model.create_session()->run({{"x", real}});
  double signal = 0, noise = 0;
  for (size_t i = 0; i < (*wanted)[0].second.data<const float>().size(); ++i) {
    const double a = (*wanted)[0].second.data<const float>()[i];
    const double b =
        dequantize((*got)[0].second.data<const T>()[i], params.scale[0], params.zero_point[0]);
    signal += a * a;
    noise += (a - b) * (a - b);
  }
  EXPECT_GT(10 * std::log10(signal / noise), 28);
  EXPECT_TRUE(small->model.to_onnx()) << "the file can be written";
}

TEST(IntegerIo, UnsignedInputsAndOutputs) {
  StaticQuantConfig config;
  config.io_dtype = "uint8";
  expect_integer_io<uint8_t>(config);
}

TEST(IntegerIo, SignedInputsAndOutputsAsInTfLite) {
  StaticQuantConfig config;
  config.scheme = "tflite";
  config.io_dtype = "int8";
  config.integer_only = true;
  expect_integer_io<int8_t>(config);
}

TEST(IntegerIo, SixteenBitsAsInTfLite) {
  StaticQuantConfig config;
  config.scheme = "tflite";
  config.act_dtype = config.io_dtype = "int16";
  config.integer_only = true;
  expect_integer_io<int16_t>(config);
}

TEST(IntegerIo, TheTypeMustBeThatOfTheActivations) {
  StaticQuantConfig config;
  config.io_dtype = "int8";  // symmetric activations are uint8
  const auto result = quantize_samples(conv_then(OpKind::kRelu), config);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(result.error().tensor, "x");
}

TEST(IntegerIo, IntegerOnlyListsWhatStaysFloat) {
  StaticQuantConfig config;
  config.integer_only = true;
  const auto result = quantize_samples(conv_then(OpKind::kCos), config);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnsupportedOp);
  EXPECT_NE(result.error().message.find("Cos 'y' (the operator has no integer form)"),
            std::string::npos)
      << result.error().message;
  config.integer_only = false;
  EXPECT_TRUE(quantize_samples(conv_then(OpKind::kCos), config));
}

}  // namespace
}  // namespace octavo
