// Weights start on lines of the cache, beyond the library's own limit of 32 bytes.
#define FLATBUFFERS_MAX_ALIGNMENT 64

#include "runtime/compact.h"
#include "runtime/compact_generated.h"
#include "runtime/limits.h"
#include "runtime/op.h"

namespace octavo {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

class Writer {
 public:
  FlatBufferBuilder& builder() { return builder_; }
  Offset<compact::Graph> graph(const Graph& in);

 private:
  Offset<compact::Constant> constant(const Tensor& in);
  Offset<compact::Value> value(const Value& in);
  Offset<compact::Attribute> attribute(const Attribute& in);
  Offset<compact::Node> node(const Node& in);
  Offset<flatbuffers::Vector<int64_t>> dims(const Shape& shape) {
    return builder_.CreateVector(shape.begin(), shape.dims().size());
  }

  FlatBufferBuilder builder_{1 << 16};
};

Offset<compact::Constant> Writer::constant(const Tensor& in) {
  const auto dtype = builder_.CreateString(dtype_name(in.dtype()));
  const auto shape = dims(in.shape());
  if (in.dtype() == DType::kString) {
    const auto values = in.data<std::string>();
    const auto strings =
        builder_.CreateVectorOfStrings(std::vector<std::string>(values.begin(), values.end()));
    return compact::CreateConstant(builder_, dtype, shape, 0, strings);
  }
  std::vector<uint8_t> packed;
  auto bytes = in.raw_bytes();
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t size = bytes.size();
  if (in.dtype() == DType::kI4 || in.dtype() == DType::kU4) {
    packed.resize((size + 1) / 2);
    for (size_t i = 0; i < size; ++i) {
      packed[i / 2] = static_cast<uint8_t>(packed[i / 2] | (data[i] & 15) << (i % 2 * 4));
    }
    data = packed.data();
    size = packed.size();
  }
  builder_.ForceVectorAlignment(size, 1, 64);
  const auto vector = builder_.CreateVector(data, size);
  return compact::CreateConstant(builder_, dtype, shape, vector);
}

Offset<compact::Value> Writer::value(const Value& in) {
  const auto name = builder_.CreateString(in.name);
  const auto dtype = builder_.CreateString(dtype_name(in.dtype));
  const auto shape = dims(in.shape);
  Offset<compact::Quant> quant;
  if (in.quant != nullptr) {
    const auto scale = builder_.CreateVector(in.quant->scale);
    const auto zero_point = builder_.CreateVector(in.quant->zero_point);
    quant = compact::CreateQuant(builder_, scale, zero_point, in.quant->axis, in.quant->block_size);
  }
  Offset<compact::Constant> data;
  if (in.constant.present()) data = constant(in.constant);
  return compact::CreateValue(builder_, name, dtype, in.shape.has_rank(), shape, quant, data);
}

Offset<compact::Attribute> Writer::attribute(const Attribute& in) {
  const auto name = builder_.CreateString(in.name);
  struct Visitor {
    Writer& writer;
    FlatBufferBuilder& builder;
    std::pair<compact::AttributeValue, Offset<void>> operator()(int64_t v) const {
      return {compact::AttributeValue::IntValue, compact::CreateIntValue(builder, v).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(float v) const {
      return {compact::AttributeValue::FloatValue, compact::CreateFloatValue(builder, v).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(const std::string& v) const {
      return {compact::AttributeValue::StringValue,
              compact::CreateStringValue(builder, builder.CreateString(v)).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(
        const std::vector<int64_t>& v) const {
      return {compact::AttributeValue::IntsValue,
              compact::CreateIntsValue(builder, builder.CreateVector(v)).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(const std::vector<float>& v) const {
      return {compact::AttributeValue::FloatsValue,
              compact::CreateFloatsValue(builder, builder.CreateVector(v)).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(
        const std::vector<std::string>& v) const {
      return {compact::AttributeValue::StringsValue,
              compact::CreateStringsValue(builder, builder.CreateVectorOfStrings(v)).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(const Tensor& v) const {
      return {compact::AttributeValue::Constant, writer.constant(v).Union()};
    }
    std::pair<compact::AttributeValue, Offset<void>> operator()(
        const std::shared_ptr<const Graph>& v) const {
      return {compact::AttributeValue::Graph, writer.graph(*v).Union()};
    }
  };
  const auto [type, value] = std::visit(Visitor{*this, builder_}, in.value);
  return compact::CreateAttribute(builder_, name, type, value);
}

Offset<compact::Node> Writer::node(const Node& in) {
  const OpDef* op = find_op(in.kind);
  const auto name = builder_.CreateString(op->name);
  const auto domain = op->domain[0] == 0 ? 0 : builder_.CreateString(op->domain);
  const auto node_name = builder_.CreateString(in.name);
  const auto inputs = builder_.CreateVector(in.inputs);
  const auto outputs = builder_.CreateVector(in.outputs);
  std::vector<Offset<compact::Attribute>> attributes;
  for (const Attribute& a : in.attributes) attributes.push_back(attribute(a));
  const auto list = builder_.CreateVector(attributes);
  return compact::CreateNode(builder_, name, domain, node_name, inputs, outputs, list);
}

Offset<compact::Graph> Writer::graph(const Graph& in) {
  std::vector<Offset<compact::Value>> values;
  for (const Value& v : in.values) values.push_back(value(v));
  std::vector<Offset<compact::Node>> nodes;
  for (const Node& n : in.nodes) nodes.push_back(node(n));
  std::vector<Offset<compact::Property>> metadata;
  for (const auto& [key, text] : in.metadata) {
    const auto key_offset = builder_.CreateString(key);
    metadata.push_back(compact::CreateProperty(builder_, key_offset, builder_.CreateString(text)));
  }
  const auto name = builder_.CreateString(in.name);
  const auto values_offset = builder_.CreateVector(values);
  const auto nodes_offset = builder_.CreateVector(nodes);
  const auto inputs = builder_.CreateVector(in.inputs);
  const auto outputs = builder_.CreateVector(in.outputs);
  const auto symbols = builder_.CreateVectorOfStrings(in.symbols);
  const auto metadata_offset = builder_.CreateVector(metadata);
  return compact::CreateGraph(builder_, name, values_offset, nodes_offset, inputs, outputs, symbols,
                              metadata_offset);
}

}  // namespace

Result<std::vector<uint8_t>> write_compact(const Graph& graph) {
  OCTAVO_TRY(validate(graph));
  if (constant_bytes(graph) + (64 << 20) >= limits::kModelBytes) {
    return fail(ErrorCode::kLimitExceeded, "the model's weights do not fit a .octavo file of ",
                limits::kModelBytes >> 30, " GiB");
  }
  Writer writer;
  const auto root = writer.graph(graph);
  const auto producer = writer.builder().CreateString("octavo");
  compact::FinishModelBuffer(
      writer.builder(), compact::CreateModel(writer.builder(), kCompactVersion, producer, root));
  const uint8_t* data = writer.builder().GetBufferPointer();
  return std::vector<uint8_t>(data, data + writer.builder().GetSize());
}

}  // namespace octavo
