#include "native/onnx_test.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/onnx/onnx.h"
#include "native/files.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr double kRelative = 1e-3, kAbsolute = 1e-7;
// The test data was truncated to bfloat16, not rounded: one unit in the last of 8 bits.
constexpr double kRelativeBF16 = 0x1p-7;

bool close(double actual, double expected, double relative) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected)) return actual == expected;
  return std::abs(actual - expected) <= kAbsolute + relative * std::abs(expected);
}

template <class T>
Status compare_elements(const Tensor& actual, const Tensor& expected) {
  const auto a = actual.data<T>(), e = expected.data<T>();
  for (size_t i = 0; i < e.size(); ++i) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (a[i] != e[i]) {
        return fail(ErrorCode::kInternal, "element ", i, " is '", a[i], "', not '", e[i], "'");
      }
    } else if constexpr (dtype_of<T> == DType::kF32 || dtype_of<T> == DType::kF64 ||
                         dtype_of<T> == DType::kF16 || dtype_of<T> == DType::kBF16) {
      constexpr double kTolerance = dtype_of<T> == DType::kBF16 ? kRelativeBF16 : kRelative;
      if (!close(static_cast<double>(a[i]), static_cast<double>(e[i]), kTolerance)) {
        return fail(ErrorCode::kInternal, "element ", i, " is ", static_cast<double>(a[i]),
                    ", not ", static_cast<double>(e[i]));
      }
    } else {
      const auto x = static_cast<ComputeType<T>>(a[i]), y = static_cast<ComputeType<T>>(e[i]);
      if (x != y) {
        return fail(ErrorCode::kInternal, "element ", i, " is ", static_cast<int64_t>(x), ", not ",
                    static_cast<int64_t>(y));
      }
    }
  }
  return {};
}

Status compare_tensors(const Tensor& actual, const Tensor& expected) {
  if (actual.dtype() != expected.dtype()) {
    return fail(ErrorCode::kInternal, "dtype is ", dtype_name(actual.dtype()), ", not ",
                dtype_name(expected.dtype()));
  }
  if (!(actual.shape() == expected.shape())) {
    return fail(ErrorCode::kInternal, "shape is ", actual.shape().to_string(), ", not ",
                expected.shape().to_string());
  }
  return visit_dtype(
      expected.dtype(), [&]<class T>() { return compare_elements<T>(actual, expected); },
      [&] { return compare_elements<std::string>(actual, expected); });
}

/// The test data holds bfloat16 as the integers of its bits.
Tensor as_declared(const Tensor& tensor, DType dtype) {
  if (dtype != DType::kBF16 || tensor.dtype() != DType::kU16) return tensor;
  return Tensor::borrow(dtype, tensor.shape(), tensor.raw(), std::make_shared<Tensor>(tensor));
}

/// prefix0.pb, prefix1.pb, ... of a folder.
Result<std::vector<Tensor>> read_tensors(const fs::path& folder, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (size_t i = 0;; ++i) {
    const fs::path path = folder / concat(prefix, i, ".pb");
    if (!fs::exists(path)) return tensors;
    OCTAVO_ASSIGN(const Bytes bytes, read_file(path.string()));
    OCTAVO_ASSIGN(Tensor tensor, parse_tensor_proto(bytes));
    tensors.push_back(std::move(tensor));
  }
}

Status run_data_set(const fs::path& folder, const Graph& graph, Session& session) {
  OCTAVO_ASSIGN(const std::vector<Tensor> inputs, read_tensors(folder, "input_"));
  OCTAVO_ASSIGN(const std::vector<Tensor> expected, read_tensors(folder, "output_"));
  if (inputs.size() != graph.inputs.size() || expected.size() != graph.outputs.size()) {
    return fail(ErrorCode::kInvalidData, folder.string(), " has ", inputs.size(), " inputs and ",
                expected.size(), " outputs; the model has ", graph.inputs.size(), " and ",
                graph.outputs.size());
  }
  NamedTensors feeds;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    feeds.emplace_back(input.name, as_declared(inputs[i], input.dtype));
  }
  OCTAVO_ASSIGN(const NamedTensors outputs, session.run(feeds));
  for (size_t i = 0; i < expected.size(); ++i) {
    const Tensor& actual = outputs[i].second;
    auto same = compare_tensors(actual, as_declared(expected[i], actual.dtype()));
    if (same) continue;
    same.error().tensor = outputs[i].first;
    return same;
  }
  return {};
}

Status run_folder(const fs::path& folder, const SessionOptions& options) {
  OCTAVO_ASSIGN(const Bytes bytes, read_file((folder / "model.onnx").string()));
  LoadOptions load;
  load.external_data = [&](const std::string& location, int64_t offset,
                           int64_t length) -> Result<Bytes> {
    OCTAVO_ASSIGN(const Bytes file, read_file((folder / location).string()));
    const auto size = static_cast<int64_t>(file.size());
    if (offset > size || length > size - offset) {
      return fail(ErrorCode::kInvalidModel, location, " is too short");
    }
    return Bytes(file.begin() + offset,
                 file.begin() + offset + (length == 0 ? size - offset : length));
  };
  OCTAVO_ASSIGN(const Model model, Model::load(bytes, load));
  OCTAVO_ASSIGN(Session session, model.create_session(options));
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set_")) {
      sets.push_back(entry.path());
    }
  }
  if (sets.empty()) {
    return fail(ErrorCode::kNotFound, folder.string(), " has no test_data_set_* folders");
  }
  std::ranges::sort(sets);
  for (const fs::path& set : sets) OCTAVO_TRY(run_data_set(set, model.graph(), session));
  return {};
}

}  // namespace

OnnxTestResult run_onnx_tests(std::span<const std::string> folders,
                              const std::function<void(size_t done, size_t total)>& progress,
                              const SessionOptions& options) {
  OnnxTestResult result;
  for (size_t i = 0; i < folders.size(); ++i) {
    fs::path path(folders[i]);
    if (!path.has_filename()) path = path.parent_path();
    const std::string name = path.filename().string();
    if (const auto status = run_folder(path, options)) {
      result.passed.push_back(name);
    } else if (status.error().code == ErrorCode::kUnsupportedOp) {
      result.unsupported.emplace_back(name, status.error().to_string());
    } else {
      result.failed.emplace_back(name, status.error().to_string());
    }
    if (progress) progress(i + 1, folders.size());
  }
  return result;
}

}  // namespace octavo
