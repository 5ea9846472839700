// ONNX import: what it makes of models, and that hostile bytes end in errors.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/quantization/qdq.h"
#include "runtime/limits.h"
#include "tests/onnx_model.h"

namespace octavo {
namespace {

using onnx::TensorProto;

void expect_error(const Result<Graph>& graph, ErrorCode code, const std::string& text) {
  ASSERT_FALSE(graph) << dump(*graph);
  EXPECT_EQ(graph.error().code, code) << graph.error().to_string();
  EXPECT_NE(graph.error().to_string().find(text), std::string::npos) << graph.error().to_string();
}

// A model with most parts: typed and raw tensors, attributes, a body that captures, a function.
OnnxModel rich_model() {
  OnnxModel model;
  model.input("x", {1, 4}).output("y");
  model.floats("w", {4, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
  model.initializer("c", {}, TensorProto::BOOL).set_raw_data(std::string(1, '\1'));
  model.node("MatMul", {"x", "w"}, {"m"});
  auto& leaky = model.node("LeakyRelu", {"m"}, {"r"});
  OnnxModel::set_float(leaky, "alpha", 0.25f);
  auto& twice = model.node("Twice", {"r"}, {"t"});
  twice.set_domain("local");
  model.node("Transpose", {"t"}, {"u"});
  OnnxModel::set_ints(*model.graph().mutable_node(3), "perm", {1, 0});
  model.node("Flatten", {"u"}, {"y"});
  model.proto.add_opset_import()->set_version(1);
  model.proto.mutable_opset_import(1)->set_domain("local");
  onnx::FunctionProto& function = *model.proto.add_functions();
  function.set_name("Twice");
  function.set_domain("local");
  function.add_input("a");
  function.add_output("b");
  function.add_opset_import()->set_version(18);
  OnnxModel::add_node(*function.mutable_node(), "Add", {"a", "a"}, {"b"});
  return model;
}

TEST(OnnxImport, ReadsARichModel) {
  EXPECT_EQ(rich_model().dumped(),
            "graph test\n"
            "  input %x f32 1x4\n"
            "  constant %w f32 4x4\n"
            "  constant %c bool scalar\n"
            "  %m f32 1x4 = MatMul(%x, %w) \"node_m\"\n"
            "  %r f32 1x4 = LeakyRelu(%m) {alpha=0.25} \"node_r\"\n"
            "  %t f32 1x4 = Add(%r, %r) \"node_t/node_b\"\n"
            "  %u f32 4x1 = Transpose(%t) {perm=[1, 0]} \"node_u\"\n"
            "  %y f32 4x1 = Flatten(%u) \"node_y\"\n"
            "  output %y\n");
}

TEST(OnnxImportHostile, TruncatedAtEveryByte) {
  const Bytes bytes = rich_model().bytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto graph = import_onnx(std::span(bytes).first(length), {});
    if (graph) {
      EXPECT_TRUE(validate(*graph));
    }
  }
}

TEST(OnnxImportHostile, EveryBitFlipped) {
  Bytes bytes = rich_model().bytes();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    const auto graph = import_onnx(bytes, {});
    if (graph) {
      EXPECT_TRUE(validate(*graph));
      EXPECT_TRUE(export_onnx(*graph));
    }
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
}

TEST(OnnxImportHostile, RandomBytes) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    Bytes bytes(1 + random() % 300);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    EXPECT_FALSE(import_onnx(bytes, {}));
  }
  EXPECT_FALSE(import_onnx({}, {}));
}

TEST(OnnxImportHostile, CyclesDanglingInputsAndDoubleOutputsNameTheNode) {
  OnnxModel cycle;
  cycle.input("x", {2}).output("b");
  cycle.node("Add", {"x", "b"}, {"a"});
  cycle.node("Relu", {"a"}, {"b"});
  expect_error(cycle.import(), ErrorCode::kInvalidModel, "node_a");

  OnnxModel dangling;
  dangling.input("x", {2}).output("y");
  dangling.node("Add", {"x", "ghost"}, {"y"});
  expect_error(dangling.import(), ErrorCode::kInvalidModel, "ghost");
  EXPECT_EQ(dangling.import().error().node, "node_y");

  OnnxModel twice;
  twice.input("x", {2}).output("y");
  twice.node("Relu", {"x"}, {"y"});
  twice.node("Abs", {"x"}, {"y"});
  expect_error(twice.import(), ErrorCode::kInvalidModel, "'y'");

  OnnxModel missing;
  missing.input("x", {2}).output("nothing");
  expect_error(missing.import(), ErrorCode::kInvalidModel, "nothing");
}

TEST(OnnxImport, NodesMayComeInAnyOrder) {
  OnnxModel model;
  model.input("x", {2}).output("c");
  model.node("Abs", {"b"}, {"c"});
  model.node("Relu", {"a"}, {"b"});
  model.node("Neg", {"x"}, {"a"});
  const auto graph = model.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->nodes[0].name, "node_a");
  EXPECT_EQ(graph->nodes[2].name, "node_c");
}

TEST(OnnxImportHostile, TensorSizesMustFitTheirData) {
  const auto with = [](auto fill) {
    OnnxModel model;
    model.input("x", {2}).output("y");
    fill(model);
    model.node("Add", {"x", "w"}, {"y"});
    return model.import();
  };
  expect_error(with([](OnnxModel& m) { m.floats("w", {3}, {1, 2}); }), ErrorCode::kInvalidModel,
               "needs 3");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {2}).set_raw_data("1234567"); }),
               ErrorCode::kInvalidModel, "needs 8");
  // A terabyte claimed, nothing there: found out before memory is asked for.
  expect_error(with([](OnnxModel& m) { m.initializer("w", {1 << 20, 1 << 20}); }),
               ErrorCode::kLimitExceeded, "larger than the limit");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {1 << 15, 1 << 15}); }),
               ErrorCode::kInvalidModel, "needs");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {-5}); }), ErrorCode::kInvalidModel,
               "-5");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {INT64_MAX, 4, 2}); }),
               ErrorCode::kLimitExceeded, "larger than the limit");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {1, 1, 1, 1, 1, 1, 1, 1, 1}); }),
               ErrorCode::kLimitExceeded, "rank 9");
  expect_error(with([](OnnxModel& m) { m.initializer("w", {2}, TensorProto::FLOAT8E4M3FN); }),
               ErrorCode::kUnsupportedOp, "float8");
}

TEST(OnnxImportHostile, ExternalDataStaysInTheFolder) {
  const auto with = [](const std::string& location, const char* key = nullptr,
                       const char* value = nullptr) {
    OnnxModel model;
    model.input("x", {2}).output("y");
    auto& tensor = model.initializer("w", {2});
    tensor.set_data_location(TensorProto::EXTERNAL);
    auto& entry = *tensor.add_external_data();
    entry.set_key("location");
    entry.set_value(location);
    if (key != nullptr) {
      auto& more = *tensor.add_external_data();
      more.set_key(key);
      more.set_value(value);
    }
    model.node("Add", {"x", "w"}, {"y"});
    LoadOptions options;
    options.external_data = [](const std::string&, int64_t offset,
                               int64_t length) -> Result<Bytes> {
      if (offset == 100) return Bytes(3);  // a file that ends early
      return Bytes(static_cast<size_t>(length));
    };
    return model.import(options);
  };
  EXPECT_TRUE(with("weights.bin"));
  EXPECT_TRUE(with("sub/weights.bin", "offset", "16"));
  EXPECT_TRUE(with("weights.bin", "length", "8"));
  for (const char* bad :
       {"", "/etc/passwd", "../w", "a/../../w", "..", "C:\\w", "a\\..\\w", "a/.."}) {
    expect_error(with(bad), ErrorCode::kInvalidModel, "inside the model's folder");
  }
  expect_error(with("w", "offset", "-1"), ErrorCode::kInvalidModel, "offset");
  expect_error(with("w", "offset", "99999999999999999999"), ErrorCode::kInvalidModel, "offset");
  expect_error(with("w", "offset", "1x"), ErrorCode::kInvalidModel, "offset");
  expect_error(with("w", "length", "9"), ErrorCode::kInvalidModel, "needs 8");
  expect_error(with("w", "colour", "9"), ErrorCode::kInvalidModel, "colour");
  expect_error(with("w", "offset", "100"), ErrorCode::kInvalidModel, "needs 8");

  OnnxModel no_reader;
  no_reader.input("x", {2}).output("w");
  auto& tensor = no_reader.initializer("w", {2});
  tensor.set_data_location(TensorProto::EXTERNAL);
  tensor.add_external_data()->set_key("location");
  tensor.mutable_external_data(0)->set_value("w.bin");
  expect_error(no_reader.import(), ErrorCode::kInvalidModel, "another file");
}

TEST(OnnxImport, EveryTensorEncoding) {
  const auto import_tensor = [](const TensorProto& proto) {
    const std::string text = proto.SerializeAsString();
    return parse_tensor_proto(
        std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  };
  // Each dtype from its typed list, with values at the ends of its range.
  const auto typed = [&](int32_t type, auto add) {
    TensorProto proto;
    proto.set_data_type(type);
    proto.add_dims(2);
    add(proto);
    const auto tensor = import_tensor(proto);
    EXPECT_TRUE(tensor) << type;
    return *tensor;
  };
  const auto ints = [](int32_t a, int32_t b) {
    return [=](TensorProto& p) { p.add_int32_data(a), p.add_int32_data(b); };
  };
  EXPECT_EQ(typed(TensorProto::INT8, ints(-128, 127)).data<int8_t>()[0], -128);
  EXPECT_EQ(typed(TensorProto::UINT8, ints(0, 255)).data<uint8_t>()[1], 255);
  EXPECT_EQ(typed(TensorProto::INT16, ints(-32768, 5)).data<int16_t>()[0], -32768);
  EXPECT_EQ(typed(TensorProto::UINT16, ints(65535, 5)).data<uint16_t>()[0], 65535);
  EXPECT_EQ(typed(TensorProto::BOOL, ints(7, 0)).data<bool>()[0], true);
  EXPECT_EQ(float(typed(TensorProto::FLOAT16, ints(0x3C00, 0)).data<Float16>()[0]), 1.0f);
  EXPECT_EQ(float(typed(TensorProto::BFLOAT16, ints(0x3F80, 0)).data<BFloat16>()[0]), 1.0f);
  const auto wide = [](uint64_t a) {
    return [=](TensorProto& p) { p.add_uint64_data(a), p.add_uint64_data(0); };
  };
  EXPECT_EQ(typed(TensorProto::UINT32, wide(UINT32_MAX)).data<uint32_t>()[0], UINT32_MAX);
  EXPECT_EQ(typed(TensorProto::UINT64, wide(UINT64_MAX)).data<uint64_t>()[0], UINT64_MAX);

  // 4-bit: two in a byte, the first in the low half; sign-extended; odd counts.
  TensorProto nibbles;
  nibbles.set_data_type(TensorProto::INT4);
  nibbles.add_dims(3);
  nibbles.set_raw_data(std::string("\x8F\x07", 2));
  const auto raw4 = import_tensor(nibbles);
  ASSERT_TRUE(raw4);
  EXPECT_EQ(raw4->data<Int4>()[0].value, -1);
  EXPECT_EQ(raw4->data<Int4>()[1].value, -8);
  EXPECT_EQ(raw4->data<Int4>()[2].value, 7);
  nibbles.clear_raw_data();
  nibbles.add_int32_data(0x8F);
  nibbles.add_int32_data(0x07);
  const auto typed4 = import_tensor(nibbles);
  ASSERT_TRUE(typed4);
  EXPECT_EQ(std::memcmp(typed4->raw(), raw4->raw(), 3), 0);

  // Raw booleans other than 0 and 1 are made 1.
  TensorProto flag;
  flag.set_data_type(TensorProto::BOOL);
  flag.set_raw_data("\x02");
  uint8_t byte = 0;
  std::memcpy(&byte, import_tensor(flag)->raw(), 1);
  EXPECT_EQ(byte, 1);
}

TEST(OnnxImport, ReportsAllUnsupportedOperatorsAtOnce) {
  OnnxModel model;
  model.input("x", {2}).output("y");
  model.node("Frobnicate", {"x"}, {"a"});
  model.node("Frobnicate", {"a"}, {"b"});
  model.node("Mystery", {"b"}, {"y"}).set_domain("com.example");
  expect_error(model.import(), ErrorCode::kUnsupportedOp,
               "2 operators that Octavo does not have: Frobnicate (2 nodes, 'node_a'), "
               "com.example.Mystery (1 node, 'node_y')");
}

TEST(OnnxImport, SaysWhatForeignFilesAre) {
  const auto says = [](std::string text, const char* what) {
    text.resize(64, '\0');
    const auto graph =
        import_onnx(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), {});
    expect_error(graph, ErrorCode::kInvalidModel, what);
  };
  says("PK\x03\x04", "zip");
  says("\x1f\x8b", "gzip");
  says("<!DOCTYPE html>", "HTML");
  says(std::string("\x1c\0\0\0TFL3", 8), "TensorFlow Lite");
  says(std::string("\x1c\0\0\0ORTM", 8), "ORT format");
  says(std::string("\x10\0\0\0\0\0\0\0{\"a\"", 12), "safetensors");
  says("version https://git-lfs.github.com/spec/v1", "Git LFS");
}

TEST(OnnxImportHostile, OperatorSetVersions) {
  const auto with = [](int64_t version) {
    OnnxModel model(version);
    model.input("x", {2}).output("y");
    model.node("Abs", {"x"}, {"y"});
    return model.import();
  };
  EXPECT_TRUE(with(7));
  EXPECT_TRUE(with(22));
  EXPECT_TRUE(with(25)) << "newer sets are tried";
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, INT64_MAX}) {
    expect_error(with(bad), ErrorCode::kInvalidModel, "version");
  }
  OnnxModel none;
  none.input("x", {2}).output("y");
  none.node("Abs", {"x"}, {"y"});
  none.proto.clear_opset_import();
  expect_error(none.import(), ErrorCode::kInvalidModel, "opset_import");
}

TEST(OnnxImport, InputsWithDefaultsAreConstants) {
  OnnxModel model;
  model.input("x", {2}).input("w", {2}).output("y");
  model.floats("w", {2}, {1, 2});
  model.node("Add", {"x", "w"}, {"y"});
  const auto graph = model.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->inputs.size(), 1u);
}

onnx::FunctionProto& add_function(OnnxModel& model, const std::string& name) {
  if (model.proto.opset_import_size() < 2) {
    model.proto.add_opset_import()->set_version(1);
    model.proto.mutable_opset_import(1)->set_domain("local");
  }
  onnx::FunctionProto& function = *model.proto.add_functions();
  function.set_name(name);
  function.set_domain("local");
  function.add_input("a");
  function.add_output("b");
  function.add_opset_import()->set_version(18);
  return function;
}

TEST(OnnxImportFunctions, AttributesComeFromTheCallOrTheDefault) {
  OnnxModel model;
  model.input("x", {2}).output("y").output("z");
  onnx::FunctionProto& function = add_function(model, "Act");
  auto& inner = OnnxModel::add_node(*function.mutable_node(), "LeakyRelu", {"a"}, {"b"});
  auto& reference = *inner.add_attribute();
  reference.set_name("alpha");
  reference.set_type(onnx::AttributeProto::FLOAT);
  reference.set_ref_attr_name("slope");
  auto& fallback = *function.add_attribute_proto();
  fallback.set_name("slope");
  fallback.set_type(onnx::AttributeProto::FLOAT);
  fallback.set_f(0.5f);
  auto& given = model.node("Act", {"x"}, {"y"});
  given.set_domain("local");
  OnnxModel::set_float(given, "slope", 0.125f);
  model.node("Act", {"x"}, {"z"}).set_domain("local");
  const auto graph = model.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->nodes[0].get_float("alpha"), 0.125f);
  EXPECT_EQ(graph->nodes[1].get_float("alpha"), 0.5f);
}

TEST(OnnxImportFunctions, NodesFollowTheFunctionsOwnOperatorSet) {
  OnnxModel model;  // 18, but the function is of 11: Squeeze has axes as an attribute
  model.input("x", {2, 1}).output("y");
  onnx::FunctionProto& function = add_function(model, "Old");
  function.mutable_opset_import(0)->set_version(11);
  OnnxModel::set_ints(OnnxModel::add_node(*function.mutable_node(), "Squeeze", {"a"}, {"b"}),
                      "axes", {1});
  model.node("Old", {"x"}, {"y"}).set_domain("local");
  const auto graph = model.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->value(graph->outputs[0]).shape, Shape{2});
}

TEST(OnnxImportFunctions, RecursionIsAnError) {
  OnnxModel model;
  model.input("x", {2}).output("y");
  onnx::FunctionProto& ping = add_function(model, "Ping");
  OnnxModel::add_node(*ping.mutable_node(), "Pong", {"a"}, {"b"}).set_domain("local");
  onnx::FunctionProto& pong = add_function(model, "Pong");
  OnnxModel::add_node(*pong.mutable_node(), "Ping", {"a"}, {"b"}).set_domain("local");
  model.node("Ping", {"x"}, {"y"}).set_domain("local");
  expect_error(model.import(), ErrorCode::kInvalidModel, "calls itself");
}

TEST(OnnxImportFunctions, ExponentialNestingMeetsALimit) {
  OnnxModel model;
  model.input("x", {2}).output("y");
  for (int i = 0; i < 30; ++i) {
    onnx::FunctionProto& f = add_function(model, concat("F", i));
    const std::string next = i < 29 ? concat("F", i + 1) : std::string("Abs");
    for (const auto& [in, out] : {std::pair("a", "m"), std::pair("m", "b")}) {
      auto& node = OnnxModel::add_node(*f.mutable_node(), next, {in}, {out});
      if (i < 29) node.set_domain("local");
    }
  }
  model.node("F0", {"x"}, {"y"}).set_domain("local");
  // 2^30 nodes; those imported before the error are counted.
  expect_error(model.import(), ErrorCode::kLimitExceeded, concat("more than ", limits::kNodes));
}

TEST(OnnxImportHostile, DeepBodiesMeetALimit) {
  OnnxModel model;
  model.input("c", {}, TensorProto::BOOL).input("x", {2}).output("y");
  onnx::NodeProto* node = &model.node("If", {"c"}, {"y"});
  for (int depth = 0; depth < 60; ++depth) {
    onnx::GraphProto& body = OnnxModel::set_graph(*node, "then_branch");
    body.add_output()->set_name(concat("o", depth));
    node = body.add_node();
    node->set_op_type(depth == 59 ? "Abs" : "If");
    node->add_input(depth == 59 ? "x" : "c");
    node->add_output(concat("o", depth));
  }
  EXPECT_FALSE(model.import());
}

// Each old form becomes the row's.
TEST(OnnxImportNormalize, OldForms) {
  OnnxModel clip(9);
  clip.input("x", {2}).output("y");
  auto& node = clip.node("Clip", {"x"}, {"y"});
  OnnxModel::set_float(node, "min", 0);
  OnnxModel::set_float(node, "max", 6);
  auto graph = clip.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->nodes[0].inputs.size(), 3u);
  EXPECT_EQ(graph->value(graph->nodes[0].inputs[2]).constant.data<float>()[0], 6.0f);

  // The old Softmax works on rows of the flattened input; on the last axis it is today's.
  for (const int64_t axis : {1, 2}) {
    OnnxModel softmax(11);
    softmax.input("x", {2, 3, 4}).output("y");
    OnnxModel::set_int(softmax.node("Softmax", {"x"}, {"y"}), "axis", axis);
    graph = softmax.import();
    ASSERT_TRUE(graph) << graph.error().to_string();
    EXPECT_EQ(graph->nodes.size(), axis == 2 ? 1u : 4u);
    EXPECT_EQ(graph->value(graph->outputs[0]).shape, (Shape{2, 3, 4}));
    EXPECT_EQ(graph->value(graph->outputs[0]).name, "y");
  }

  OnnxModel split(11);
  split.input("x", {6}).output("a").output("b");
  split.node("Split", {"x"}, {"a", "b"});
  graph = split.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->value(graph->outputs[1]).shape, Shape{3});
}

TEST(OnnxImportNormalize, QLinearConvCollapsesIntoAQuantizedConv) {
  OnnxModel model;
  model.input("x", {1, 1, 4, 4}, TensorProto::UINT8).output("y");
  model.floats("xs", {}, {0.5f});
  model.initializer("xz", {}, TensorProto::UINT8).add_int32_data(10);
  model.initializer("w", {2, 1, 1, 1}, TensorProto::INT8).set_raw_data("\x03\xFD");
  model.floats("ws", {2}, {0.25f, 0.5f});
  model.initializer("wz", {2}, TensorProto::INT8).set_raw_data(std::string(2, '\0'));
  model.floats("ys", {1}, {1.0f});  // some exporters write vectors of one element
  model.initializer("yz", {1}, TensorProto::UINT8).add_int32_data(3);
  auto& bias = model.initializer("b", {2}, TensorProto::INT32);
  bias.add_int32_data(8);
  bias.add_int32_data(-8);
  model.node("QLinearConv", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, {"y"});
  auto graph = model.import();
  ASSERT_TRUE(graph) << graph.error().to_string();
  const auto changes = collapse_qdq(*graph);
  ASSERT_TRUE(changes) << changes.error().to_string();
  ASSERT_EQ(graph->nodes.size(), 1u) << dump(*graph);
  const Node& conv = graph->nodes[0];
  EXPECT_EQ(conv.kind, OpKind::kConv);
  EXPECT_EQ(graph->value(conv.inputs[0]).quant->zero_point[0], 10);
  EXPECT_EQ(graph->value(conv.inputs[1]).quant->axis, 0);
  EXPECT_EQ(graph->value(conv.inputs[2]).dtype, DType::kI32);
  EXPECT_EQ(graph->value(conv.inputs[2]).quant->scale[1], 0.25f);
  EXPECT_EQ(graph->value(conv.outputs[0]).quant->zero_point[0], 3);
}

}  // namespace
}  // namespace octavo
