#include "wasm/runtime/values.h"

#include <cstdlib>
#include <string>

namespace octavo::wasm {
namespace {

Result<std::string> string_property(const val& object, const char* key) {
  const val value = object[key];
  if (!value.isString()) return fail(ErrorCode::kInvalidArgument, "'", key, "' is not a string");
  return value.as<std::string>();
}

std::unexpected<Error> feed_error(const std::string& name, std::string message) {
  return std::unexpected(Error{ErrorCode::kInvalidArgument, std::move(message), {}, name});
}

Result<Shape> shape_from_js(const std::string& name, const val& dims) {
  const auto rank = dims["length"].as<unsigned>();
  if (rank > static_cast<unsigned>(kMaxRank)) {
    return feed_error(name, concat("a tensor has at most ", kMaxRank, " dimensions"));
  }
  Shape shape;
  for (unsigned i = 0; i < rank; ++i) {
    const auto dim = dims[i].as<double>();
    if (!(dim >= 0 && dim <= 0x1p40) || dim != static_cast<double>(static_cast<int64_t>(dim))) {
      return feed_error(name, "a dimension must be a whole number that is not negative");
    }
    shape.push_back(static_cast<int64_t>(dim));
  }
  return shape;
}

Result<Tensor> tensor_from_js(const std::string& name, const val& feed) {
  OCTAVO_ASSIGN(const std::string dtype_name, string_property(feed, "dtype"));
  const DType dtype = dtype_from_name(dtype_name);
  if (dtype == DType::kUndefined) {
    return feed_error(name, concat("there is no element type '", dtype_name, "'"));
  }
  OCTAVO_ASSIGN(const Shape shape, shape_from_js(name, feed["dims"]));
  const val data = feed["bytes"];
  const auto length = data["length"].as<double>();
  if (dtype == DType::kString) {
    if (length != static_cast<double>(shape.elements())) {
      return feed_error(name, concat("the tensor has ", length, " elements; its shape ",
                                     shape.to_string(), " wants ", shape.elements()));
    }
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
    const auto strings = tensor.data<std::string>();
    for (size_t i = 0; i < strings.size(); ++i) strings[i] = data[i].as<std::string>();
    return tensor;
  }
  const double wanted =
      static_cast<double>(shape.elements()) * static_cast<double>(dtype_bytes(dtype));
  if (length != wanted) {
    return feed_error(name, concat("the tensor's data have ", length, " bytes; its shape ",
                                   shape.to_string(), " wants ", wanted));
  }
  OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
  val(emscripten::typed_memory_view(static_cast<size_t>(tensor.bytes()),
                                    static_cast<uint8_t*>(tensor.raw())))
      .call<void>("set", data);
  return tensor;
}

}  // namespace

val to_js(const Error& error) {
  val detail = val::object();
  detail.set("code", std::string(error_code_name(error.code)));
  detail.set("message", error.message);
  detail.set("node", error.node);
  detail.set("tensor", error.tensor);
  val out = val::object();
  out.set("error", detail);
  return out;
}

Result<Buffer> copy_bytes(const val& array) {
  const auto size = static_cast<size_t>(array["length"].as<double>());
  // As aligned as a compact file's weights, which are used in place.
  void* memory = std::aligned_alloc(64, (size + 63) / 64 * 64 + 64);
  if (memory == nullptr) {
    return fail(ErrorCode::kOutOfMemory, "out of memory for a model of ", size, " bytes");
  }
  Buffer buffer{std::shared_ptr<void>(memory, std::free), size};
  val(emscripten::typed_memory_view(size, static_cast<uint8_t*>(memory))).call<void>("set", array);
  return buffer;
}

val to_js(std::span<const uint8_t> bytes) {
  // slice() copies out of WebAssembly's memory.
  return val(emscripten::typed_memory_view(bytes.size(), bytes.data())).call<val>("slice");
}

Result<NamedTensors> feeds_from_js(const val& feeds) {
  NamedTensors tensors;
  const auto count = feeds["length"].as<unsigned>();
  for (unsigned i = 0; i < count; ++i) {
    const val feed = feeds[i];
    OCTAVO_ASSIGN(std::string name, string_property(feed, "name"));
    OCTAVO_ASSIGN(Tensor tensor, tensor_from_js(name, feed));
    tensors.emplace_back(std::move(name), std::move(tensor));
  }
  return tensors;
}

val to_js(const NamedTensors& tensors) {
  val out = val::array();
  for (const auto& [name, tensor] : tensors) {
    val dims = val::array();
    for (const int64_t dim : tensor.shape()) dims.call<void>("push", static_cast<double>(dim));
    val item = val::object();
    item.set("name", name);
    item.set("dtype", std::string(dtype_name(tensor.dtype())));
    item.set("dims", dims);
    if (tensor.dtype() == DType::kString) {
      val strings = val::array();
      for (const std::string& text : tensor.data<std::string>()) {
        strings.call<void>("push", text);
      }
      item.set("bytes", strings);
    } else {
      item.set("bytes", to_js(std::span(static_cast<const uint8_t*>(tensor.raw()),
                                        static_cast<size_t>(tensor.bytes()))));
    }
    out.call<void>("push", item);
  }
  return out;
}

val describe(const Graph& graph, std::span<const ValueId> values) {
  val out = val::array();
  for (const ValueId id : values) {
    const Value& value = graph.value(id);
    val item = val::object();
    item.set("name", value.name);
    item.set("dtype", std::string(dtype_name(value.dtype)));
    val dims = val::null();
    if (value.shape.has_rank()) {
      dims = val::array();
      for (const int64_t dim : value.shape) {
        const auto symbol = static_cast<size_t>(-2 - dim);
        if (dim >= 0) {
          dims.call<void>("push", static_cast<double>(dim));
        } else if (dim != kUnknownDim && symbol < graph.symbols.size()) {
          dims.call<void>("push", graph.symbols[symbol]);
        } else {
          dims.call<void>("push", val::null());
        }
      }
    }
    item.set("dims", dims);
    out.call<void>("push", item);
  }
  return out;
}

val JsSession::run(const val& feeds) {
  auto tensors = feeds_from_js(feeds);
  if (!tensors) return to_js(tensors.error());
  return unwrap(session_.run(*tensors), [](const NamedTensors& outputs) { return to_js(outputs); });
}

val JsSession::inputs() const { return describe(session_.graph(), session_.graph().inputs); }
val JsSession::outputs() const { return describe(session_.graph(), session_.graph().outputs); }

}  // namespace octavo::wasm
