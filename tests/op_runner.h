// Runs one node on given tensors: inference with the inputs' shapes (and, as a plan does, known
// elements), then the reference function.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "runtime/infer.h"

namespace octavo::testing {

struct OpRun {
  OpKind kind;
  std::vector<Attribute> attributes = {};
  size_t outputs = 1;
  /// False: inference sees shapes alone, so that outputs' shapes are found while running.
  bool constants_known = true;
  /// Parameters of quantized inputs, nullptr for others; may be shorter than the inputs.
  std::vector<std::shared_ptr<const QuantParams>> quants = {};
  /// What the graph declares of output 0 (quantization parameters with their dtype).
  TensorInfo declared = {};

  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const {
    Node node{kind, {}, {}, attributes, "node"};
    std::vector<TensorInfo> infos;
    std::vector<const TensorInfo*> pointers;
    std::vector<TensorView> views;
    infos.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const bool present = inputs[i].present();
      const auto quant = i < quants.size() ? quants[i] : nullptr;
      node.inputs.push_back(present ? static_cast<ValueId>(i) : kNoValue);
      infos.push_back(
          {inputs[i].dtype(), inputs[i].shape(), constants_known ? inputs[i] : Tensor(), quant});
      pointers.push_back(present ? &infos[i] : nullptr);
      views.push_back(inputs[i].view(quant.get()));
    }
    for (size_t i = 0; i < outputs; ++i) {
      node.outputs.push_back(static_cast<ValueId>(inputs.size() + i));
    }
    std::vector<TensorInfo> found(outputs);
    found[0] = declared;
    OCTAVO_TRY(infer_node(node, pointers, found));
    return evaluate(node, views, found);
  }

  /// The first output; fails the test on an error.
  Tensor first(const std::vector<Tensor>& inputs) const {
    auto result = run(inputs);
    if (!result) {
      ADD_FAILURE() << result.error().to_string();
      return {};
    }
    return (*result)[0];
  }
};

inline std::vector<int64_t> dims(const Tensor& tensor) {
  return {tensor.shape().begin(), tensor.shape().end()};
}

template <class T>
std::vector<T> elements(const Tensor& tensor) {
  EXPECT_EQ(tensor.dtype(), dtype_of<T>);
  if (tensor.dtype() != dtype_of<T>) return {};
  const auto data = tensor.data<T>();
  return {data.begin(), data.end()};
}

/// first, first + 1, ... as T.
template <class T>
Tensor iota(const Shape& shape, T first = T{0}) {
  std::vector<T> values(static_cast<size_t>(shape.elements()));
  for (T& value : values) value = first++;
  return Tensor::of<T>(shape, std::span<const T>(values));
}

inline Tensor i64s(std::initializer_list<int64_t> values) {
  return Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values);
}

}  // namespace octavo::testing
