// Static quantization of small graphs: what becomes integer, what stays float and why, and how far
// the results are from the float model's.
#include <cmath>
#include <random>

#include "tests/quantized_model.h"

namespace octavo {
namespace {

const Value& value(const QuantizedModel& result, const std::string& name) {
  const Graph& graph = result.model.graph();
  const ValueId id = graph.find_value(name);
  static const Value kNone;
  EXPECT_NE(id, kNoValue) << name;
  return id == kNoValue ? kNone : graph.value(id);
}

std::vector<OpKind> kinds(const QuantizedModel& result) {
  std::vector<OpKind> list;
  for (const Node& node : result.model.graph().nodes) list.push_back(node.kind);
  return list;
}

Attribute relu() { return {"activation", std::string("Relu")}; }

// Weights whose output channels differ in size by up to 8.
ValueId uneven(GraphBuilder& b, const std::string& name, const Shape& shape, float deviation) {
  Tensor weights = GraphBuilder::random_tensor(name, shape, deviation);
  const auto data = weights.data<float>();
  const size_t channel = data.size() / static_cast<size_t>(shape[0]);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] *= std::exp2(-static_cast<float>(i / channel % 4));
  return b.constant(name, weights);
}

// conv1 (Relu) -> conv2 -> Add with conv1's result -> Relu -> MaxPool -> Flatten -> Gemm
Graph residual_network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 8, 8});
  const std::vector<int64_t> pads{1, 1, 1, 1};
  const ValueId c1 =
      b.node(OpKind::kConv, {x, uneven(b, "w1", {8, 3, 3, 3}, 0.2f), b.random("b1", {8}, 0.1f)},
             "conv1", {{"pads", pads}, relu()});
  const ValueId c2 =
      b.node(OpKind::kConv, {c1, uneven(b, "w2", {8, 8, 3, 3}, 0.1f), b.random("b2", {8}, 0.1f)},
             "conv2", {{"pads", pads}});
  const ValueId sum = b.node(OpKind::kAdd, {c2, c1}, "add");
  const ValueId r = b.node(OpKind::kRelu, {sum}, "relu");
  const ValueId p = b.node(
      OpKind::kMaxPool, {r}, "pool",
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const ValueId f = b.node(OpKind::kFlatten, {p}, "flatten");
  const ValueId y =
      b.node(OpKind::kGemm, {f, b.random("w3", {10, 128}, 0.1f), b.random("b3", {10}, 0.1f)}, "y",
             {{"transB", int64_t{1}}});
  return b.output(y).build();
}

TEST(Quantize, AResidualNetworkIsIntegerFromEndToEnd) {
  const Graph graph = residual_network();
  const QuantizedModel result = quantized(graph);
  for (const NodeReport& node : result.report.nodes) EXPECT_TRUE(node.quantized) << node.name;
  EXPECT_EQ(kinds(result), (std::vector<OpKind>{
                               OpKind::kQuantizeLinear, OpKind::kConv, OpKind::kConv, OpKind::kAdd,
                               OpKind::kRelu, OpKind::kMaxPool, OpKind::kFlatten, OpKind::kGemm}));
  EXPECT_EQ(value(result, "conv1").dtype, DType::kU8);
  EXPECT_EQ(value(result, "conv1").quant->zero_point[0], 0) << "never negative";
  EXPECT_GT(value(result, "conv2").quant->zero_point[0], 64) << "signed";
  EXPECT_EQ(*value(result, "add").quant, *value(result, "relu").quant)
      << "saturation does the Relu's work";
  EXPECT_EQ(*value(result, "pool").quant, *value(result, "relu").quant);
  EXPECT_EQ(value(result, "y").dtype, DType::kF32) << "the last product ends in float";
  EXPECT_EQ(result.report.samples, 8);
  EXPECT_LT(result.report.quantized_bytes, 0.3 * static_cast<double>(result.report.float_bytes));
  EXPECT_GT(sqnr(graph, result), 25);
}

TEST(Quantize, PerChannelWeightsAreCloser) {
  const Graph graph = residual_network();
  const QuantizedModel result = quantized(graph);
  EXPECT_EQ(value(result, "w1_quantized").quant->scale.size(), 8u);
  EXPECT_EQ(value(result, "w3_quantized").quant->axis, 0);
  EXPECT_EQ(result.report.nodes[0].weights, "int8 per_channel");
  StaticQuantConfig per_tensor;
  per_tensor.weight_granularity = "per_tensor";
  EXPECT_GT(sqnr(graph, result), sqnr(graph, quantized(graph, per_tensor)));
}

TEST(Quantize, EveryScheme) {
  const Graph graph = residual_network();
  for (const char* dtype : {"int8", "uint8"}) {
    for (const bool sym : {true, false}) {
      for (const char* granularity : {"per_tensor", "per_channel"}) {
        StaticQuantConfig config;
        config.weight_dtype = config.act_dtype = dtype;
        config.weight_sym = config.act_sym = sym;
        config.weight_granularity = granularity;
        EXPECT_GT(sqnr(graph, quantized(graph, config)), 25)
            << dtype << (sym ? " symmetric " : " asymmetric ") << granularity;
      }
    }
  }
  StaticQuantConfig config;
  config.act_dtype = "int8";
  EXPECT_EQ(value(quantized(graph, config), "conv1").dtype, DType::kI8);
  config.act_sym = true;
  EXPECT_EQ(value(quantized(graph, config), "conv1").dtype, DType::kU8);
  EXPECT_EQ(value(quantized(graph, config), "conv2").quant->zero_point[0], 128);
}

TEST(Quantize, LocalConfigurationsAndWhiteList) {
  const Graph graph = residual_network();
  StaticQuantConfig config, fp32;
  fp32.act_dtype = fp32.weight_dtype = "fp32";
  config.set_local("conv2", fp32);
  const QuantizedModel local = quantized(graph, config);
  EXPECT_EQ(reason(local, "conv1"), "quantized");
  EXPECT_EQ(reason(local, "conv2"), "act_dtype is fp32");
  EXPECT_EQ(reason(local, "add"), "quantized") << "conv1's integers flow into it";
  EXPECT_EQ(value(local, "conv2").dtype, DType::kF32);

  StaticQuantConfig listed;
  listed.white_list = {"Gemm", "MatMul"};
  const QuantizedModel gemm_only = quantized(graph, listed);
  EXPECT_EQ(reason(gemm_only, "conv1"), "not in white_list");
  EXPECT_EQ(reason(gemm_only, "y"), "quantized");

  StaticQuantConfig none;
  none.white_list = {};
  EXPECT_FALSE(quantized(graph, none).report.warnings.empty());
}

TEST(Quantize, WhereNothingIsQuantizedNoDataAreWanted) {
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  for (const char* dtype : {"fp32", "bf16", "int8"}) {
    StaticQuantConfig config;
    config.act_dtype = dtype;
    auto quantizer = Quantizer::create(model, config);
    ASSERT_TRUE(quantizer) << quantizer.error().to_string();
    const bool calibrates = dtype == std::string_view("int8");
    EXPECT_EQ(quantizer->wants_data(), calibrates) << dtype;
    if (calibrates) continue;
    const auto made = quantizer->finish();
    ASSERT_TRUE(made) << made.error().to_string();
    EXPECT_EQ(made->report.samples, 0);
    EXPECT_GT(sqnr(graph, *made), dtype == std::string_view("fp32") ? 199 : 30);
  }
}

TEST(Quantize, UnknownNamesSuggestTheNearest) {
  const Graph graph = residual_network();
  StaticQuantConfig config;
  config.set_local("convv2", StaticQuantConfig{});
  const auto result = quantize(graph, config);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
  EXPECT_NE(result.error().message.find("did you mean 'conv2'?"), std::string::npos)
      << result.error().message;
  StaticQuantConfig listed;
  listed.white_list = {"Conv", "Gem"};
  EXPECT_EQ(quantize(graph, listed).error().code, ErrorCode::kNotFound);
}

TEST(Quantize, NoIslandsOfIntegers) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 4, 4});
  const ValueId lonely = b.node(OpKind::kAdd, {x, x}, "lonely");
  const ValueId c = b.node(OpKind::kConv, {lonely, b.random("w", {4, 4, 1, 1})}, "conv");
  const ValueId s = b.node(OpKind::kSigmoid, {c}, "sigmoid");
  const ValueId last = b.node(OpKind::kMul, {s, b.input("gate", {1, 4, 4, 4})}, "last");
  const QuantizedModel result = quantized(b.output(last).build());
  EXPECT_EQ(reason(result, "lonely"), "no quantized neighbour");
  EXPECT_EQ(reason(result, "conv"), "quantized");
  EXPECT_EQ(reason(result, "sigmoid"), "its results are used as floats only");
  EXPECT_EQ(reason(result, "last"), "its results are used as floats only");
}

TEST(Quantize, FixedRangesNeedNoCalibration) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 4, 4});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w1", {4, 4, 1, 1})}, "conv1");
  const ValueId s = b.node(OpKind::kSigmoid, {c}, "sigmoid");
  const ValueId m = b.node(OpKind::kMul, {c, s}, "mul");
  const ValueId y = b.node(OpKind::kConv, {m, b.random("w2", {4, 4, 1, 1})}, "conv2");
  const Graph graph = b.output(y).build();
  const QuantizedModel result = quantized(graph);
  EXPECT_EQ(value(result, "sigmoid").quant->scale[0], 1.0f / 256);
  EXPECT_EQ(value(result, "sigmoid").quant->zero_point[0], 0);
  EXPECT_GT(sqnr(graph, result), 25);
}

TEST(Quantize, ConcatSharesParametersWhereNothingIsLost) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId small = b.node(OpKind::kConv, {x, b.random("ws", {4, 4, 1, 1}, 0.1f)}, "small");
  const ValueId large = b.node(OpKind::kConv, {x, b.random("wl", {4, 4, 1, 1}, 1.0f)}, "large");
  const ValueId both = b.node(OpKind::kConv, {x, b.random("wb", {4, 4, 1, 1}, 0.1f)}, "both");
  const ValueId joined =
      b.node(OpKind::kConcat, {small, large, both}, "joined", {{"axis", int64_t{1}}});
  const ValueId y1 = b.node(OpKind::kConv, {joined, b.random("w1", {4, 12, 1, 1})}, "y1");
  const ValueId y2 = b.node(OpKind::kConv, {both, b.random("w2", {4, 4, 1, 1})}, "y2");
  const QuantizedModel result = quantized(b.output(y1).output(y2).build());
  const QuantParams& output = *value(result, "joined").quant;
  EXPECT_EQ(*value(result, "small").quant, output) << "nobody else reads it";
  EXPECT_EQ(*value(result, "large").quant, output);
  EXPECT_LT(value(result, "both").quant->scale[0], output.scale[0]) << "y2 wants it finer";
}

TEST(Quantize, PadAndResizeKeepTheirInputsIntegers) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId c1 = b.node(OpKind::kConv, {x, b.random("w1", {4, 4, 1, 1})}, "c1");
  const ValueId pads = b.ints("pads", {0, 0, 1, 1, 0, 0, 1, 1});
  const ValueId padded = b.node(OpKind::kPad, {c1, pads}, "padded");
  const ValueId c2 = b.node(OpKind::kConv, {padded, b.random("w2", {4, 4, 1, 1})}, "c2");
  const ValueId scales = b.floats("scales", {4}, {1, 1, 2, 2});
  const ValueId resized = b.node(OpKind::kResize, {c2, kNoValue, scales}, "resized",
                                 {{"mode", std::string("nearest")}});
  const ValueId y = b.node(OpKind::kConv, {resized, b.random("w3", {4, 4, 1, 1})}, "y");
  const Graph graph = b.output(y).build();
  const QuantizedModel result = quantized(graph);
  EXPECT_EQ(*value(result, "padded").quant, *value(result, "c1").quant);
  EXPECT_EQ(*value(result, "resized").quant, *value(result, "c2").quant);
  EXPECT_GT(sqnr(graph, result), 25);
}

// A convolution whose channels have ranges from 1 to 1/64, before a depthwise one.
Graph uneven_channels() {
  GraphBuilder b;
  Tensor weights = GraphBuilder::random_tensor("w1", {8, 3, 1, 1});
  Tensor depthwise = GraphBuilder::random_tensor("w2", {8, 1, 3, 3});
  for (size_t c = 0; c < 8; ++c) {
    const float factor = std::exp2(-static_cast<float>(c));
    for (size_t i = 0; i < 3; ++i) weights.data<float>()[c * 3 + i] *= factor;
    for (size_t i = 0; i < 9; ++i) depthwise.data<float>()[c * 9 + i] /= factor;
  }
  const ValueId x = b.input("x", {1, 3, 8, 8});
  const ValueId c1 = b.node(OpKind::kConv, {x, b.constant("w1", weights)}, "conv1", {relu()});
  const ValueId c2 =
      b.node(OpKind::kConv, {c1, b.constant("w2", depthwise)}, "conv2", {{"group", int64_t{8}}});
  return b.output(c2).build();
}

TEST(Quantize, ChannelsBeforeADepthwiseConvolutionAreEqualized) {
  const Graph graph = uneven_channels();
  StaticQuantConfig config;
  config.weight_granularity = "per_channel";
  config.equalization = "none";
  const double before = sqnr(graph, quantized(graph, config));
  config.equalization = "channels";
  const QuantizedModel result = quantized(graph, config);
  EXPECT_GT(sqnr(graph, result), before + 2);
  EXPECT_EQ(value(result, "conv1_equalized").dtype, DType::kU8);
}

TEST(Quantize, CrossLayerEqualizationEvensWeightsWithOneScale) {
  const Graph graph = uneven_channels();
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.equalization = "none";
  const double before = sqnr(graph, quantized(graph, config));
  config.equalization = "cross_layer";
  const QuantizedModel result = quantized(graph, config);
  EXPECT_EQ(value(result, "w1_quantized").quant->scale.size(), 1u);
  EXPECT_GT(sqnr(graph, result), before + 8);
  EXPECT_EQ(result.report.samples, 8) << "not counted once per pass";
}

// Relu6: the bound moves with the channel that reaches farthest, none is cut below its own range.
TEST(Quantize, CrossLayerEqualizationKeepsClippedNetworks) {
  Graph graph = uneven_channels();
  graph.nodes[0].set("activation", std::string("Clip"));
  graph.nodes[0].set("activation_params", std::vector<float>{0, 6});
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.equalization = "none";
  const double before = sqnr(graph, quantized(graph, config));
  config.equalization = "cross_layer";
  EXPECT_GT(sqnr(graph, quantized(graph, config)), before + 8);
}

// A bound that cuts many values off in some channels: scaled apart, these would let them through.
TEST(Quantize, CrossLayerEqualizationLeavesWhatIsCutOffCutOff) {
  Graph graph = uneven_channels();
  graph.nodes[0].set("activation", std::string("Clip"));
  graph.nodes[0].set("activation_params", std::vector<float>{0, 0.5f});
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.equalization = "none";
  const double before = sqnr(graph, quantized(graph, config));
  config.equalization = "cross_layer";
  EXPECT_GT(sqnr(graph, quantized(graph, config)), before + 2);
}

// Weights that are all rounded down: without correction every output is too small.
TEST(Quantize, BiasCorrectionRestoresTheMean) {
  GraphBuilder b;
  Tensor weights = *Tensor::create(DType::kF32, Shape{4, 8, 3, 3});
  for (float& w : weights.data<float>()) w = 0.1f * 10.4f / 127;
  weights.data<float>()[0] = 0.1f;  // the scale is 0.1 / 127, all others become 10
  const ValueId x = b.input("x", {1, 8, 7, 7});
  const ValueId a = b.node(OpKind::kConv, {x, b.random("w0", {8, 8, 1, 1})}, "positive", {relu()});
  const ValueId y = b.node(OpKind::kConv, {a, b.constant("w", weights)}, "y",
                           {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  const Graph graph = b.output(y).build();
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.equalization = "none";
  config.bias_correction = false;
  const double before = sqnr(graph, quantized(graph, config));
  config.bias_correction = true;
  const QuantizedModel result = quantized(graph, config);
  EXPECT_GT(sqnr(graph, result), before + 3);
  EXPECT_EQ(result.model.graph().nodes.back().kind, OpKind::kDequantizeLinear);
}

TEST(Quantize, DataThatCannotBeReadTwiceAreKept) {
  class Once : public DataLoader {
   public:
    explicit Once(const Graph& graph) : loader_(graph, 8) {}
    Result<std::optional<NamedTensors>> next() override { return loader_.next(); }

   private:
    RandomLoader loader_;
  };
  const Graph graph = uneven_channels();
  const Model model(std::make_shared<const Graph>(graph));
  Once once(graph);
  StaticQuantConfig config;  // equalized across layers first, which takes a pass of its own
  config.weight_granularity = "per_tensor";
  const auto kept = quantize_model(model, config, &once);
  ASSERT_TRUE(kept) << kept.error().to_string();
  EXPECT_EQ(*kept->model.to_onnx(), *quantized(graph, config).model.to_onnx());
}

// expand (Relu) -> project -> Add over a shortcut, all read by a third convolution.
TEST(Quantize, AddedTensorsAreEqualizedTogether) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 6, 6});
  const ValueId s = b.node(OpKind::kConv, {x, uneven(b, "ws", {8, 8, 1, 1}, 1)}, "shortcut");
  const ValueId e = b.node(OpKind::kConv, {s, b.random("we", {16, 8, 1, 1})}, "expand", {relu()});
  const ValueId p = b.node(OpKind::kConv, {e, uneven(b, "wp", {8, 16, 1, 1}, 1)}, "project");
  const ValueId sum = b.node(OpKind::kAdd, {s, p}, "sum");
  const ValueId y = b.node(OpKind::kConv, {sum, b.random("wy", {8, 8, 1, 1})}, "y");
  const Graph graph = b.output(y).build();
  StaticQuantConfig config;
  config.weight_granularity = "per_channel";
  const QuantizedModel result = quantized(graph, config);
  for (const char* name : {"shortcut_equalized", "project_equalized", "sum_equalized", "expand"}) {
    EXPECT_EQ(value(result, name).dtype, DType::kU8);
  }
  EXPECT_GT(sqnr(graph, result), 28);
}

TEST(Quantize, OnlyDataInputsAreQuantized) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 4, 4});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w1", {4, 4, 1, 1})}, "conv1");
  const ValueId r =
      b.node(OpKind::kResize, {c, kNoValue, b.floats("scales", {4}, {1, 1, 2, 2})}, "resize");
  const ValueId y = b.node(OpKind::kConv, {r, b.random("w2", {4, 4, 1, 1})}, "conv2");
  const Graph graph = b.output(y).build();
  const QuantizedModel result = quantized(graph);
  EXPECT_EQ(reason(result, "resize"), "quantized");
  EXPECT_EQ(value(result, "scales").dtype, DType::kF32);
  EXPECT_GT(sqnr(graph, result), 25);
}

TEST(Quantize, GraphOutputsStayFloatUnderTheirNames) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("w1", {4, 4, 1, 1})}, "c");
  const ValueId y = b.node(OpKind::kConv, {c, b.random("w2", {4, 4, 1, 1})}, "y");
  const Graph graph = b.output(c).output(y).build();
  const QuantizedModel result = quantized(graph);
  const Graph& made = result.model.graph();
  ASSERT_EQ(made.outputs.size(), 2u);
  EXPECT_EQ(made.value(made.outputs[0]).name, "c");
  EXPECT_EQ(made.value(made.outputs[0]).dtype, DType::kF32);
  EXPECT_EQ(value(result, "c_quantized").dtype, DType::kU8);
  EXPECT_GT(sqnr(graph, result), 25);
}

TEST(Quantize, WeightsSharedWithAFloatNodeAreCopied) {
  GraphBuilder b;
  const ValueId x = b.input("x", {4, 4}), w = b.random("w", {4, 4});
  const ValueId first = b.node(OpKind::kMatMul, {x, w}, "first");
  const ValueId second = b.node(OpKind::kMatMul, {first, w}, "second");
  const ValueId sum = b.node(OpKind::kAdd, {second, w}, "sum");
  StaticQuantConfig config, fp32;
  fp32.act_dtype = "fp32";
  config.set_local("sum", fp32);
  const QuantizedModel result = quantized(b.output(sum).build(), config);
  EXPECT_EQ(value(result, "w").dtype, DType::kF32);
  EXPECT_EQ(value(result, "w_quantized").dtype, DType::kI8);
  EXPECT_EQ(result.model.graph().find_value("w_quantized_1"), kNoValue) << "one copy serves both";
}

TEST(Quantize, ComputedWeightsStayFloat) {
  GraphBuilder b;
  const ValueId y =
      b.node(OpKind::kMatMul, {b.input("a", {2, 4}), b.input("b", {4, 3})}, "product");
  const QuantizedModel result = quantized(b.output(y).build());
  EXPECT_EQ(reason(result, "product"), "its weights are not constant");
}

TEST(Quantize, BadDataNamesInputAndSample) {
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  RandomLoader data(graph, 8);
  data.change = [&](NamedTensors& feeds) {
    if (data.served() == 4) feeds[0].second.data<float>()[5] = std::nanf("");
  };
  const auto result = quantize_model(model, {}, &data);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidData);
  EXPECT_EQ(result.error().to_string(), "sample 3 of the data holds NaN values (tensor 'x')");
}

TEST(Quantize, CalibrationArguments) {
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  EXPECT_EQ(quantize_model(model, {}, nullptr).error().code, ErrorCode::kInvalidArgument);
  RandomLoader empty(graph, 0);
  EXPECT_EQ(quantize_model(model, {}, &empty).error().code, ErrorCode::kInvalidArgument);

  RandomLoader ten(graph, 10);
  EXPECT_EQ(quantize_model(model, {}, &ten, 3)->report.samples, 3);
  EXPECT_EQ(ten.served(), 3) << "no sample is read in vain";

  RandomLoader cancelled(graph, 10);
  const auto stop = [](int64_t done, int64_t total) { return total != 10 || done < 2; };
  EXPECT_EQ(quantize_model(model, {}, &cancelled, 10, {}, {.progress = stop}).error().code,
            ErrorCode::kCancelled);

  RandomLoader own(graph, 5);
  const CalibFunc drive = [&](const std::function<Status(const NamedTensors&)>& observe) -> Status {
    OCTAVO_TRY(own.rewind());  // called once for each pass
    while (true) {
      OCTAVO_ASSIGN(const auto feeds, own.next());
      if (!feeds) return {};
      OCTAVO_TRY(observe(*feeds));
    }
  };
  EXPECT_EQ(quantize_model(model, {}, nullptr, 100, drive)->report.samples, 5);
}

TEST(Quantize, AQuantizedModelIsRefused) {
  const Graph graph = residual_network();
  const QuantizedModel once = quantized(graph);
  EXPECT_EQ(quantize(once.model.graph()).error().code, ErrorCode::kInvalidArgument);
}

TEST(Compare, EqualModelsAgree) {
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  RandomLoader data(graph, 4);
  const auto result = compare(model, model, data);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->agreement, 1);
  EXPECT_EQ(result->samples, 4);
  EXPECT_EQ(result->outputs[0].sqnr_db, 200);
  EXPECT_NEAR(result->outputs[0].cosine, 1, 1e-12);
}

TEST(Compare, AsksTheBackendsGiven) {
  // Leaves everything to the portable one.
  struct Asked final : Backend {
    std::string_view name() const override { return "asked"; }
    std::vector<Claim> claim(const PlanGraph&, const std::vector<bool>&) override {
      ++times;
      return {};
    }
    Result<std::unique_ptr<Step>> compile(const PlanGraph&, const Claim&, Layout) override {
      return nullptr;
    }
    int times = 0;
  };
  const auto asked = std::make_shared<Asked>();
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  RandomLoader data(graph, 1);
  const auto compared = compare(model, model, data, {.backends = {asked}});
  ASSERT_TRUE(compared) << compared.error().to_string();
  EXPECT_EQ(asked->times, 2) << "one for each model";
}

TEST(Compare, ShowsEveryCommonTensor) {
  const Graph graph = residual_network();
  const Model model(std::make_shared<const Graph>(graph));
  const QuantizedModel small = quantized(graph);
  RandomLoader data(graph, 4);
  const auto result = compare(model, small.model, data);
  ASSERT_TRUE(result) << result.error().to_string();
  ASSERT_FALSE(result->tensors.empty());
  EXPECT_EQ(result->tensors[0].tensor, "conv1");
  for (const TensorComparison& tensor : result->tensors) {
    EXPECT_GT(tensor.sqnr_db, 20) << tensor.tensor;
    EXPECT_GT(tensor.cosine, 0.99) << tensor.tensor;
  }
}

}  // namespace
}  // namespace octavo
