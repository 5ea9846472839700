// ONNX Runtime's MatMulNBits: weight-only models written as it, and read.
#include "core/onnx/matmul_nbits.h"

#include "tests/onnx_model.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

// Two products of 40 and 48 inputs; the second is a Gemm with a bias.
Graph network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {4, 40});
  const ValueId h = b.node(OpKind::kMatMul, {x, b.random("w1", {40, 48}, 0.2f)}, "h");
  const ValueId y =
      b.node(OpKind::kGemm, {h, b.random("w2", {8, 48}, 0.2f), b.random("b2", {8}, 0.1f)}, "y",
             {{"transB", int64_t{1}}});
  return b.output(y).build();
}

onnx::ModelProto parsed(const Bytes& bytes) {
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return proto;
}

int count(const onnx::ModelProto& proto, const std::string& op) {
  int found = 0;
  for (const auto& node : proto.graph().node()) found += node.op_type() == op ? 1 : 0;
  return found;
}

RTNConfig config(int64_t bits, int64_t group, bool symmetric) {
  RTNConfig made;
  made.weight_bits = bits;
  made.weight_group_size = group;
  made.weight_sym = symmetric;
  made.quant_format = "matmulnbits";
  return made;
}

TEST(MatMulNBits, FilesAreReadAsTheSameModel) {
  const Graph graph = network();
  for (const int64_t bits : {4, 8}) {
    for (const int64_t group : {16, 32, 48, -1}) {
      for (const bool symmetric : {true, false}) {
        SCOPED_TRACE(concat(bits, " bits, groups of ", group, symmetric ? ", symmetric" : ""));
        const RTNConfig wanted = config(bits, group, symmetric);
        RTNConfig plain = wanted;
        plain.quant_format = "qdq";
        const Model model = quantized(graph, wanted).model;
        const auto bytes = model.to_onnx();
        ASSERT_TRUE(bytes) << bytes.error().to_string();
        const onnx::ModelProto proto = parsed(*bytes);
        EXPECT_EQ(count(proto, "MatMulNBits"), 2);
        EXPECT_EQ(count(proto, "DequantizeLinear"), 0);
        ASSERT_EQ(proto.opset_import_size(), 2);
        EXPECT_EQ(proto.opset_import(1).domain(), "com.microsoft");
        const auto loaded = Model::load(*bytes);
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        EXPECT_GT(sqnr(quantized(graph, plain).model.graph(), *loaded), 130)
            << "the same weights as between DequantizeLinear nodes";
        EXPECT_EQ(count(parsed(*loaded->to_onnx()), "MatMulNBits"), 2) << "the form is kept";
        EXPECT_EQ(*Model::load(*model.to_compact())->to_onnx(), *bytes);
      }
    }
  }
}

// ONNX Runtime takes blocks of up to 256.
TEST(MatMulNBits, LongGroupsBecomeSeveralBlocks) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 600});
  const Graph graph =
      b.output(b.node(OpKind::kMatMul, {x, b.random("w", {600, 4}, 0.2f)}, "y")).build();
  const Model model = quantized(graph, config(4, -1, false)).model;
  const auto bytes = model.to_onnx();
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  const onnx::ModelProto proto = parsed(*bytes);
  ASSERT_EQ(count(proto, "MatMulNBits"), 1);
  EXPECT_EQ(proto.graph().node(0).attribute(3).i(), 256);
  EXPECT_EQ(sqnr(model.graph(), *Model::load(*bytes)), 200);
}

TEST(MatMulNBits, OtherGroupsStayAsTheyAre) {
  const auto bytes = quantized(network(), config(4, 24, true)).model.to_onnx();
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  EXPECT_EQ(count(parsed(*bytes), "MatMulNBits"), 0);
  EXPECT_EQ(count(parsed(*bytes), "DequantizeLinear"), 2);
}

// 18 inputs in blocks of 16: weights of output 0 are input - 9, of output 1 all 7.
TEST(MatMulNBits, PacksTheFirstWeightLowest) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 18});
  std::vector<float> weights;
  for (int i = 0; i < 18; ++i) {
    weights.push_back(static_cast<float>(i < 16 ? i - 8 : i - 9));
    weights.push_back(7);
  }
  const Graph graph =
      b.output(b.node(OpKind::kMatMul, {x, b.floats("w", {18, 2}, weights)}, "y")).build();
  const onnx::ModelProto proto = parsed(*quantized(graph, config(4, 16, true)).model.to_onnx());
  ASSERT_EQ(proto.graph().node_size(), 1);
  const onnx::NodeProto& node = proto.graph().node(0);
  EXPECT_EQ(node.domain(), "com.microsoft");
  ASSERT_EQ(node.input_size(), 3) << "the zero points are the default";
  std::map<std::string, int64_t> attributes;
  for (const auto& attribute : node.attribute()) attributes[attribute.name()] = attribute.i();
  EXPECT_EQ(attributes,
            (std::map<std::string, int64_t>{{"K", 18}, {"N", 2}, {"bits", 4}, {"block_size", 16}}));
  const auto initializer = [&](int input) {
    for (const auto& tensor : proto.graph().initializer()) {
      if (tensor.name() == node.input(input)) return tensor.raw_data();
    }
    return std::string();
  };
  const std::string packed = initializer(1);
  ASSERT_EQ(packed.size(), 2u * 2 * 8);
  // Output 0, block 0: scale 1, stored integers 0, 1, 2 ... 15.
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(static_cast<uint8_t>(packed[static_cast<size_t>(i)]), (2 * i + 1) * 16 + 2 * i);
  }
  // Block 1: 7 and 8, scale 8 / 7: 7 / (8 / 7) = 6.1 and 7, moved up by 8; then zeros.
  EXPECT_EQ(static_cast<uint8_t>(packed[8]), 15 * 16 + 14);
  for (size_t i = 9; i < 16; ++i) EXPECT_EQ(static_cast<uint8_t>(packed[i]), 0x88);
  float scales[4];
  ASSERT_EQ(initializer(2).size(), sizeof scales);
  std::memcpy(scales, initializer(2).data(), sizeof scales);
  EXPECT_FLOAT_EQ(scales[0], 1);
  EXPECT_FLOAT_EQ(scales[1], 8.0f / 7);
  EXPECT_FLOAT_EQ(scales[2], 1);
}

// y = x * w + bias, with w = scale * (q - zero) and 2 bits a weight.
struct ByHand {
  OnnxModel model{21};
  onnx::NodeProto* node;

  ByHand() {
    onnx::OperatorSetIdProto& domain = *model.proto.add_opset_import();
    domain.set_domain("com.microsoft");
    domain.set_version(1);
    model.input("x", {1, 16}).output("y");
    using onnx::TensorProto;
    // Integers 0, 1, 2, 3, 0, 1, ... of one output.
    model.initializer("b", {1, 1, 4}, TensorProto::UINT8).set_raw_data("\xe4\xe4\xe4\xe4");
    model.floats("scales", {1}, {0.5f});
    model.initializer("zeros", {1}, TensorProto::UINT8).set_raw_data("\x01");
    model.floats("bias", {1}, {10});
    node = &model.node("MatMulNBits", {"x", "b", "scales", "zeros", "", "bias"}, {"y"});
    node->set_domain("com.microsoft");
    OnnxModel::set_int(*node, "K", 16);
    OnnxModel::set_int(*node, "N", 1);
    OnnxModel::set_int(*node, "bits", 2);
    OnnxModel::set_int(*node, "block_size", 16);
  }
};

TEST(MatMulNBits, TwoBitsZeroPointsAndABias) {
  const auto model = Model::load(ByHand().model.bytes());
  ASSERT_TRUE(model) << model.error().to_string();
  auto session = model->create_session();
  ASSERT_TRUE(session) << session.error().to_string();
  std::vector<float> x;
  for (int i = 0; i < 16; ++i) x.push_back(static_cast<float>(i));
  const auto y = session->run({{"x", Tensor::of<float>(Shape{1, 16}, x)}});
  ASSERT_TRUE(y) << y.error().to_string();
  float expected = 10;
  for (int i = 0; i < 16; ++i)
    expected += 0.5f * static_cast<float>(i % 4 - 1) * x[static_cast<size_t>(i)];
  EXPECT_FLOAT_EQ((*y)[0].second.data<const float>()[0], expected);
}

TEST(MatMulNBits, BadOnesAreErrors) {
  const auto code = [](const std::function<void(ByHand&)>& change) {
    ByHand made;
    change(made);
    const auto graph = made.model.import();
    return graph ? ErrorCode::kInternal : graph.error().code;
  };
  const auto attribute = [&](int index, int64_t value) {
    return code([&](ByHand& made) { made.node->mutable_attribute(index)->set_i(value); });
  };
  EXPECT_EQ(attribute(0, 64), ErrorCode::kInvalidModel) << "more inputs than there are bytes";
  EXPECT_EQ(attribute(0, int64_t{1} << 62), ErrorCode::kInvalidModel);
  EXPECT_EQ(attribute(0, -1), ErrorCode::kInvalidModel);
  EXPECT_EQ(attribute(1, int64_t{1} << 62), ErrorCode::kInvalidModel);
  EXPECT_EQ(attribute(1, 2), ErrorCode::kInvalidModel) << "more outputs than scales";
  EXPECT_EQ(attribute(2, 3), ErrorCode::kUnsupportedOp);
  EXPECT_EQ(attribute(3, 24), ErrorCode::kInvalidModel);
  EXPECT_EQ(attribute(3, int64_t{1} << 60), ErrorCode::kInvalidModel);
  EXPECT_EQ(code([](ByHand& made) { made.node->set_input(4, "scales"); }),
            ErrorCode::kUnsupportedOp);
  EXPECT_EQ(code([](ByHand& made) { made.node->set_input(1, "x"); }), ErrorCode::kUnsupportedOp);
}

}  // namespace
}  // namespace octavo
