#include <cstring>
#include <set>

#include "runtime/compact.h"
#include "runtime/compact_generated.h"
#include "runtime/limits.h"
#include "runtime/op.h"

namespace octavo {
namespace {

template <class... Parts>
std::unexpected<Error> bad(const Parts&... parts) {
  return fail(ErrorCode::kInvalidModel, "the .octavo file is damaged: ", parts...);
}

std::string text(const flatbuffers::String* string) {
  return string == nullptr ? std::string() : string->str();
}

// The elements of a vector, copied as bytes: the verifier looks at the alignment of a vector's
// length only, so a damaged file may have 8-byte elements at any multiple of 4.
template <class T>
std::vector<T> list(const flatbuffers::Vector<T>* vector) {
  if (vector == nullptr || vector->size() == 0) return {};
  std::vector<T> out(vector->size());
  std::memcpy(out.data(), vector->Data(), out.size() * sizeof(T));
  return out;
}

class Reader {
 public:
  explicit Reader(std::shared_ptr<const void> owner) : owner_(std::move(owner)) {}

  Result<Graph> graph(const compact::Graph& in, int depth);
  const std::set<std::string>& unknown_ops() const { return unknown_ops_; }

 private:
  Result<Shape> shape(const flatbuffers::Vector<int64_t>* dims, size_t symbols) const;
  Result<Tensor> constant(const compact::Constant& in) const;
  Result<Value> value(const compact::Value& in, size_t symbols) const;
  Result<AttributeValue> attribute(const compact::Attribute& in, int depth);
  Result<Node> node(const compact::Node& in, int depth);

  std::shared_ptr<const void> owner_;
  std::set<std::string> unknown_ops_;
};

Result<Shape> Reader::shape(const flatbuffers::Vector<int64_t>* dims, size_t symbols) const {
  Shape shape;
  if (dims == nullptr) return shape;
  if (dims->size() > kMaxRank) return bad("a tensor of rank ", dims->size());
  for (const int64_t dim : list(dims)) {
    if (dim < -1 - static_cast<int64_t>(symbols)) return bad("a dimension of ", dim);
    shape.push_back(dim);
  }
  return shape;
}

Result<Tensor> Reader::constant(const compact::Constant& in) const {
  const DType dtype = dtype_from_name(in.dtype()->string_view());
  if (dtype == DType::kUndefined) return bad("dtype '", in.dtype()->string_view(), "'");
  OCTAVO_ASSIGN(const Shape dims, shape(in.dims(), 0));
  if (!dims.is_static()) return bad("a constant of shape ", dims.to_string());
  const int64_t elements = dims.elements();
  if (dtype == DType::kString) {
    const size_t count = in.strings() == nullptr ? 0 : in.strings()->size();
    if (static_cast<int64_t>(count) != elements) return bad("a constant's strings are missing");
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, dims));
    for (size_t i = 0; i < count; ++i) {
      tensor.data<std::string>()[i] = in.strings()->Get(static_cast<uint32_t>(i))->str();
    }
    return tensor;
  }
  const bool half = dtype == DType::kI4 || dtype == DType::kU4;
  const int64_t bytes = in.data() == nullptr ? 0 : static_cast<int64_t>(in.data()->size());
  int64_t needed = 0;
  if (elements > limits::kTensorBytes ||
      __builtin_mul_overflow(elements, dtype_bytes(dtype), &needed)) {
    return bad("a constant of shape ", dims.to_string());
  }
  if (half) needed = (elements + 1) / 2;
  if (bytes != needed) {
    return bad("a constant of shape ", dims.to_string(), " has ", bytes, " bytes, not ", needed);
  }
  const uint8_t* data = in.data() == nullptr ? nullptr : in.data()->data();
  const bool aligned = reinterpret_cast<uintptr_t>(data) % 64 == 0;
  if (owner_ != nullptr && !half && aligned && bytes > 0 && dtype != DType::kBool) {
    return Tensor::borrow(dtype, dims, data, owner_);
  }
  OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, dims));
  if (half) {
    auto* out = static_cast<uint8_t*>(tensor.raw());
    for (int64_t i = 0; i < elements; ++i) {
      const int nibble = (data[i / 2] >> (i % 2 * 4)) & 15;
      out[i] = static_cast<uint8_t>(dtype == DType::kI4 && nibble > 7 ? nibble - 16 : nibble);
    }
  } else if (dtype == DType::kBool) {
    for (int64_t i = 0; i < elements; ++i)
      tensor.data<bool>()[static_cast<size_t>(i)] = data[i] != 0;
  } else if (bytes > 0) {
    std::memcpy(tensor.raw(), data, static_cast<size_t>(bytes));
  }
  return tensor;
}

Result<Value> Reader::value(const compact::Value& in, size_t symbols) const {
  Value value;
  value.name = in.name()->str();
  value.dtype = dtype_from_name(in.dtype()->string_view());
  if (in.has_rank()) {
    OCTAVO_ASSIGN(value.shape, shape(in.dims(), symbols));
  }
  if (const compact::Quant* quant = in.quant()) {
    value.quant = std::make_shared<const QuantParams>(QuantParams{
        list(quant->scale()), list(quant->zero_point()), quant->axis(), quant->block_size()});
  }
  if (in.constant() != nullptr) {
    OCTAVO_ASSIGN(value.constant, constant(*in.constant()));
  }
  return value;
}

Result<AttributeValue> Reader::attribute(const compact::Attribute& in, int depth) {
  switch (in.value_type()) {
    case compact::AttributeValue::IntValue: return in.value_as_IntValue()->value();
    case compact::AttributeValue::FloatValue: return in.value_as_FloatValue()->value();
    case compact::AttributeValue::StringValue: return in.value_as_StringValue()->value()->str();
    case compact::AttributeValue::IntsValue: return list(in.value_as_IntsValue()->value());
    case compact::AttributeValue::FloatsValue: return list(in.value_as_FloatsValue()->value());
    case compact::AttributeValue::StringsValue: {
      std::vector<std::string> strings;
      for (const auto* s : *in.value_as_StringsValue()->value()) strings.push_back(s->str());
      return strings;
    }
    case compact::AttributeValue::Constant: return constant(*in.value_as_Constant());
    case compact::AttributeValue::Graph: {
      OCTAVO_ASSIGN(Graph body, graph(*in.value_as_Graph(), depth + 1));
      return std::make_shared<const Graph>(std::move(body));
    }
    default: return bad("attribute '", in.name()->string_view(), "' has an unknown type");
  }
}

Result<Node> Reader::node(const compact::Node& in, int depth) {
  Node node;
  const std::string domain = text(in.domain());
  const OpDef* op = find_op(domain, in.op()->string_view());
  if (op == nullptr) {
    unknown_ops_.insert(in.op()->str());
  } else {
    node.kind = op->kind;
  }
  node.name = text(in.name());
  node.inputs = list(in.inputs());
  node.outputs = list(in.outputs());
  if (in.attributes() != nullptr) {
    for (const compact::Attribute* a : *in.attributes()) {
      OCTAVO_ASSIGN(AttributeValue value, attribute(*a, depth));
      node.set(a->name()->string_view(), std::move(value));
    }
  }
  return node;
}

Result<Graph> Reader::graph(const compact::Graph& in, int depth) {
  if (depth > limits::kNesting) {
    return fail(ErrorCode::kLimitExceeded, "graphs are nested more than ", limits::kNesting,
                " deep");
  }
  Graph graph;
  graph.name = text(in.name());
  if (in.symbols() != nullptr) {
    for (const auto* symbol : *in.symbols()) graph.symbols.push_back(symbol->str());
  }
  if (in.values() != nullptr) {
    for (const compact::Value* v : *in.values()) {
      OCTAVO_ASSIGN(Value made, value(*v, graph.symbols.size()));
      graph.values.push_back(std::move(made));
    }
  }
  if (in.nodes() != nullptr) {
    for (const compact::Node* n : *in.nodes()) {
      OCTAVO_ASSIGN(Node made, node(*n, depth));
      graph.nodes.push_back(std::move(made));
    }
  }
  graph.inputs = list(in.inputs());
  graph.outputs = list(in.outputs());
  if (in.metadata() != nullptr) {
    for (const compact::Property* p : *in.metadata()) {
      graph.metadata.emplace_back(p->key()->str(), p->value()->str());
    }
  }
  return graph;
}

}  // namespace

bool is_compact(std::span<const uint8_t> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data() + 4, compact::ModelIdentifier(), 4) == 0;
}

Result<Graph> read_compact(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner) {
  if (static_cast<int64_t>(bytes.size()) >= limits::kModelBytes) {
    return fail(ErrorCode::kLimitExceeded, "a .octavo file must be smaller than ",
                limits::kModelBytes >> 30, " GiB");
  }
  if (!is_compact(bytes)) return fail(ErrorCode::kInvalidModel, "this is not a .octavo file");
  // FlatBuffers' verifier wants aligned memory; a copy lives as long as the weights that borrow it.
  Tensor copy;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 64 != 0) {
    OCTAVO_ASSIGN(copy, Tensor::create(DType::kU8, Shape{static_cast<int64_t>(bytes.size())}));
    std::memcpy(copy.raw(), bytes.data(), bytes.size());
    bytes = {static_cast<const uint8_t*>(copy.raw()), bytes.size()};
    owner = std::make_shared<Tensor>(copy);
  }
  flatbuffers::Verifier::Options options;
  options.max_depth = 4 * limits::kNesting;
  options.max_tables = 64'000'000;
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), options);
  if (!compact::VerifyModelBuffer(verifier)) return bad("its structure does not verify");
  const compact::Model* model = compact::GetModel(bytes.data());
  if (model->version() != kCompactVersion) {
    return fail(ErrorCode::kInvalidModel, "the .octavo file has version ", model->version(),
                "; this program reads version ", kCompactVersion);
  }
  Reader reader(std::move(owner));
  OCTAVO_ASSIGN(Graph graph, reader.graph(*model->graph(), 0));
  if (!reader.unknown_ops().empty()) {
    std::string names;
    for (const std::string& name : reader.unknown_ops())
      names += (names.empty() ? "" : ", ") + name;
    return fail(ErrorCode::kUnsupportedOp, "unsupported operators: ", names);
  }
  OCTAVO_TRY(validate(graph));
  return graph;
}

}  // namespace octavo
