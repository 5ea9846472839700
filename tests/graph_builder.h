// Builds small graphs for tests:
//
//   GraphBuilder b;
//   const ValueId x = b.input("x", {1, 3, 8, 8});
//   const ValueId y = b.node(OpKind::kConv, {x, b.random("w", {4, 3, 3, 3})}, "conv", {{"pads",
//   ...}}); Graph graph = b.output(y).build();
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "runtime/infer.h"

namespace octavo {

class GraphBuilder {
 public:
  GraphBuilder() { graph_.name = "test"; }

  ValueId input(const std::string& name, const Shape& shape, DType dtype = DType::kF32) {
    const ValueId id = graph_.add_value({.name = name, .dtype = dtype, .shape = shape});
    graph_.inputs.push_back(id);
    return id;
  }
  ValueId constant(const std::string& name, Tensor tensor) {
    return graph_.add_value({.name = name,
                             .dtype = tensor.dtype(),
                             .shape = tensor.shape(),
                             .constant = std::move(tensor)});
  }
  ValueId floats(const std::string& name, const Shape& shape, std::vector<float> values) {
    return constant(name, Tensor::of<float>(shape, values));
  }
  ValueId ints(const std::string& name, std::vector<int64_t> values) {
    return constant(name, Tensor::vector_i64(values));
  }
  /// Normally distributed numbers that depend on the name only.
  ValueId random(const std::string& name, const Shape& shape, float deviation = 1) {
    return constant(name, random_tensor(name, shape, deviation));
  }
  static Tensor random_tensor(const std::string& seed, const Shape& shape, float deviation = 1) {
    std::seed_seq sequence(seed.begin(), seed.end());
    std::mt19937 generator(sequence);
    Tensor tensor = *Tensor::create(DType::kF32, shape);
    for (float& x : tensor.data<float>()) {
      // The sum of uniform numbers is the same everywhere, std::normal_distribution is not.
      float sum = -6;
      for (int i = 0; i < 12; ++i) sum += static_cast<float>(generator() >> 8) * 0x1p-24f;
      x = sum * deviation;
    }
    return tensor;
  }

  /// A node with `outputs` results, named like itself ("conv", "conv.1", ...); returns the first.
  ValueId node(OpKind kind, std::vector<ValueId> inputs, const std::string& name,
               std::vector<Attribute> attributes = {}, int outputs = 1) {
    Node made{.kind = kind,
              .inputs = std::move(inputs),
              .attributes = std::move(attributes),
              .name = name};
    for (int i = 0; i < outputs; ++i) {
      made.outputs.push_back(graph_.add_value({.name = i == 0 ? name : concat(name, '.', i)}));
    }
    graph_.nodes.push_back(made);
    return made.outputs[0];
  }

  GraphBuilder& output(ValueId value) {
    graph_.outputs.push_back(value);
    return *this;
  }
  Graph build() {
    Graph graph = graph_;
    const auto inferred = infer_in_place(graph);
    EXPECT_TRUE(inferred) << inferred.error().to_string();
    const auto valid = validate(graph);
    EXPECT_TRUE(valid) << valid.error().to_string();
    return graph;
  }

 private:
  Graph graph_;
};

}  // namespace octavo
