// TensorProto <-> Tensor. A TensorProto holds its elements in raw_data (little-endian), in a typed
// list, or in another file.
#include <bit>
#include <charconv>
#include <cstring>

#include "core/onnx/onnx.h"
#include "core/onnx/proto.h"
#include "runtime/limits.h"

namespace octavo {
namespace onnx_io {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

using onnx::TensorProto;

struct DTypeRow {
  int32_t onnx;
  DType dtype;
};
constexpr DTypeRow kDTypes[] = {
    {TensorProto::FLOAT, DType::kF32},     {TensorProto::FLOAT16, DType::kF16},
    {TensorProto::BFLOAT16, DType::kBF16}, {TensorProto::DOUBLE, DType::kF64},
    {TensorProto::INT8, DType::kI8},       {TensorProto::UINT8, DType::kU8},
    {TensorProto::INT4, DType::kI4},       {TensorProto::UINT4, DType::kU4},
    {TensorProto::INT16, DType::kI16},     {TensorProto::UINT16, DType::kU16},
    {TensorProto::INT32, DType::kI32},     {TensorProto::UINT32, DType::kU32},
    {TensorProto::INT64, DType::kI64},     {TensorProto::UINT64, DType::kU64},
    {TensorProto::BOOL, DType::kBool},     {TensorProto::STRING, DType::kString},
};

bool is_4bit(DType dtype) { return dtype == DType::kI4 || dtype == DType::kU4; }

/// Bytes of `elements` elements in a file.
int64_t packed_bytes(DType dtype, int64_t elements) {
  return is_4bit(dtype) ? (elements + 1) / 2 : elements * dtype_bytes(dtype);
}

Status wrong_size(std::string_view what, int64_t have, int64_t want, const Shape& shape) {
  return fail(ErrorCode::kInvalidModel, "the tensor's shape ", shape.to_string(), " needs ", want,
              " ", what, " but the model has ", have);
}

Result<Shape> checked_shape(const TensorProto& proto, DType dtype) {
  if (proto.dims_size() > kMaxRank) {
    return fail(ErrorCode::kLimitExceeded, "a tensor of rank ", proto.dims_size(), "; ranks up to ",
                kMaxRank, " are supported");
  }
  Shape shape;
  for (const int64_t dim : proto.dims()) {
    if (dim < 0) return fail(ErrorCode::kInvalidModel, "a tensor has dimension ", dim);
    shape.push_back(dim);
  }
  if (shape.elements() > limits::kTensorBytes / dtype_bytes(dtype)) {
    return fail(ErrorCode::kLimitExceeded, "a tensor of shape ", shape.to_string(),
                " is larger than the limit of ", limits::kTensorBytes >> 30, " GiB");
  }
  return shape;
}

/// Elements as they lie in a file, which the caller has checked to be packed_bytes long.
void read_raw(const char* bytes, Tensor& out) {
  const auto count = static_cast<size_t>(out.elements());
  if (is_4bit(out.dtype())) {
    auto* to = static_cast<uint8_t*>(out.raw());
    for (size_t i = 0; i < count; ++i) {
      const int nibble = (static_cast<uint8_t>(bytes[i / 2]) >> (i % 2 * 4)) & 15;
      to[i] = static_cast<uint8_t>(out.dtype() == DType::kI4 ? Int4(nibble).value : nibble);
    }
  } else if (out.dtype() == DType::kBool) {
    for (size_t i = 0; i < count; ++i) out.data<bool>()[i] = bytes[i] != 0;
  } else if (count > 0) {
    std::memcpy(out.raw(), bytes, static_cast<size_t>(out.bytes()));
  }
}

/// Elements of a typed list, each held in a wider type.
template <class List>
Status read_list(const List& list, Tensor& out) {
  const int64_t count = out.elements();
  const int64_t expected = is_4bit(out.dtype()) ? (count + 1) / 2 : count;
  if (list.size() != expected) return wrong_size("values", list.size(), expected, out.shape());
  switch (out.dtype()) {
    case DType::kI4:
    case DType::kU4: {
      std::string bytes;
      for (const auto value : list) bytes += static_cast<char>(static_cast<int64_t>(value) & 255);
      read_raw(bytes.data(), out);
      return {};
    }
    case DType::kF16:
    case DType::kBF16:  // the list holds their bits
      for (int i = 0; i < list.size(); ++i) {
        out.data<uint16_t>()[static_cast<size_t>(i)] = static_cast<uint16_t>(list[i]);
      }
      return {};
    default: break;
  }
  visit_dtype(
      out.dtype(),
      [&]<class T>() {
        if constexpr (std::is_arithmetic_v<T>) {
          for (int i = 0; i < list.size(); ++i) {
            out.data<T>()[static_cast<size_t>(i)] = static_cast<T>(list[i]);
          }
        }
      },
      [] {});
  return {};
}

Status read_typed(const TensorProto& proto, Tensor& out) {
  switch (out.dtype()) {
    case DType::kF32: return read_list(proto.float_data(), out);
    case DType::kF64: return read_list(proto.double_data(), out);
    case DType::kI64: return read_list(proto.int64_data(), out);
    case DType::kU32:
    case DType::kU64: return read_list(proto.uint64_data(), out);
    case DType::kString:
      if (proto.string_data_size() != out.elements()) {
        return wrong_size("strings", proto.string_data_size(), out.elements(), out.shape());
      }
      for (int i = 0; i < proto.string_data_size(); ++i) {
        out.data<std::string>()[static_cast<size_t>(i)] = proto.string_data(i);
      }
      return {};
    default: return read_list(proto.int32_data(), out);
  }
}

struct ExternalData {
  std::string location;
  int64_t offset = 0, length = -1;  // length -1: not given
};

Result<int64_t> parse_count(std::string_view key, const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    return fail(ErrorCode::kInvalidModel, "external data: ", key, " is '", text,
                "', not a count of bytes");
  }
  return number;
}

/// A relative path that stays in the model's folder.
bool is_safe_location(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\\') != std::string_view::npos ||
      path.find(':') != std::string_view::npos || path.find('\0') != std::string_view::npos) {
    return false;
  }
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") return false;
    at = end + 1;
  }
  return true;
}

Result<ExternalData> parse_external(const TensorProto& proto) {
  ExternalData data;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") {
      data.location = entry.value();
    } else if (entry.key() == "offset") {
      OCTAVO_ASSIGN(data.offset, parse_count("offset", entry.value()));
    } else if (entry.key() == "length") {
      OCTAVO_ASSIGN(data.length, parse_count("length", entry.value()));
    } else if (entry.key() != "checksum") {
      return fail(ErrorCode::kInvalidModel, "external data has an unknown key '", entry.key(), "'");
    }
  }
  if (!is_safe_location(data.location)) {
    return fail(ErrorCode::kInvalidModel, "external data lies at '", data.location,
                "'; it must be a relative path inside the model's folder");
  }
  return data;
}

Result<Bytes> read_external(const TensorProto& proto, const ExternalDataReader& reader,
                            int64_t expected, const Shape& shape) {
  OCTAVO_ASSIGN(const ExternalData data, parse_external(proto));
  if (data.length >= 0 && data.length != expected) {
    return std::unexpected(wrong_size("bytes", data.length, expected, shape).error());
  }
  if (!reader) {
    return fail(ErrorCode::kInvalidModel, "the tensor's data is in another file, '", data.location,
                "'; load the model from its folder, or pass a reader of external data");
  }
  if (expected == 0) return Bytes();
  OCTAVO_ASSIGN(Bytes bytes, reader(data.location, data.offset, expected));
  if (static_cast<int64_t>(bytes.size()) != expected) {
    return std::unexpected(
        wrong_size("bytes", static_cast<int64_t>(bytes.size()), expected, shape).error());
  }
  return bytes;
}

Result<Tensor> read_tensor(const TensorProto& proto, const ExternalDataReader& reader) {
  OCTAVO_ASSIGN(const DType dtype, dtype_from_onnx(proto.data_type()));
  OCTAVO_ASSIGN(const Shape shape, checked_shape(proto, dtype));
  if (proto.has_segment()) {
    return fail(ErrorCode::kInvalidModel, "tensors stored in segments are not supported");
  }
  const int64_t bytes = packed_bytes(dtype, shape.elements());
  if (proto.data_location() == TensorProto::EXTERNAL) {
    if (dtype == DType::kString) {
      return fail(ErrorCode::kInvalidModel, "strings cannot be external data");
    }
    OCTAVO_ASSIGN(const Bytes data, read_external(proto, reader, bytes, shape));
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
    read_raw(reinterpret_cast<const char*>(data.data()), tensor);
    return tensor;
  }
  if (proto.has_raw_data() && dtype != DType::kString) {
    const std::string& raw = proto.raw_data();
    if (static_cast<int64_t>(raw.size()) != bytes) {
      return std::unexpected(
          wrong_size("bytes", static_cast<int64_t>(raw.size()), bytes, shape).error());
    }
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
    read_raw(raw.data(), tensor);
    return tensor;
  }
  // The lists are in memory already: a tensor of a size that none of them has is not allocated.
  const int64_t longest =
      std::max({proto.float_data_size(), proto.int32_data_size() * (is_4bit(dtype) ? 2 : 1),
                proto.int64_data_size(), proto.double_data_size(), proto.uint64_data_size(),
                proto.string_data_size()});
  if (shape.elements() > longest) {
    return std::unexpected(wrong_size("values", longest, shape.elements(), shape).error());
  }
  OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
  OCTAVO_TRY(read_typed(proto, tensor));
  return tensor;
}

}  // namespace

Result<DType> dtype_from_onnx(int32_t data_type) {
  for (const DTypeRow& row : kDTypes) {
    if (row.onnx == data_type) return row.dtype;
  }
  switch (data_type) {
    case TensorProto::COMPLEX64:
    case TensorProto::COMPLEX128:
      return fail(ErrorCode::kUnsupportedOp, "complex tensors are not supported");
    case TensorProto::FLOAT8E4M3FN:
    case TensorProto::FLOAT8E4M3FNUZ:
    case TensorProto::FLOAT8E5M2:
    case TensorProto::FLOAT8E5M2FNUZ:
      return fail(ErrorCode::kUnsupportedOp, "float8 tensors are not supported");
    case TensorProto::UNDEFINED: return fail(ErrorCode::kInvalidModel, "a tensor has no data type");
    default: return fail(ErrorCode::kUnsupportedOp, "unknown tensor data type ", data_type);
  }
}

int32_t dtype_to_onnx(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row.onnx;
  }
  return TensorProto::UNDEFINED;
}

Result<Tensor> tensor_from_proto(const TensorProto& proto, const ExternalDataReader& reader) {
  auto tensor = read_tensor(proto, reader);
  if (!tensor && tensor.error().tensor.empty()) tensor.error().tensor = proto.name();
  return tensor;
}

void tensor_to_proto(const Tensor& tensor, TensorProto& proto) {
  proto.set_data_type(dtype_to_onnx(tensor.dtype()));
  for (const int64_t dim : tensor.shape()) proto.add_dims(dim);
  const auto count = static_cast<size_t>(tensor.elements());
  if (tensor.dtype() == DType::kString) {
    for (const std::string& text : tensor.data<std::string>()) proto.add_string_data(text);
  } else if (is_4bit(tensor.dtype())) {
    std::string packed((count + 1) / 2, '\0');
    const auto* from = static_cast<const uint8_t*>(tensor.raw());
    for (size_t i = 0; i < count; ++i) {
      packed[i / 2] = static_cast<char>(packed[i / 2] | ((from[i] & 15) << (i % 2 * 4)));
    }
    proto.set_raw_data(std::move(packed));
  } else {
    proto.set_raw_data(tensor.raw(), static_cast<size_t>(tensor.bytes()));
  }
}

}  // namespace onnx_io

Result<Tensor> parse_tensor_proto(std::span<const uint8_t> bytes) {
  onnx::TensorProto proto;
  if (bytes.size() > static_cast<size_t>(limits::kModelBytes) - 1 ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kInvalidData, "these bytes are not an ONNX TensorProto");
  }
  return onnx_io::tensor_from_proto(proto, {});
}

}  // namespace octavo
