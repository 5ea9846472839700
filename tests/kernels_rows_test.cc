// Softmax, normalizations, reductions and recurrent cells against their references, on every SIMD
// target this machine has.

#include "kernel_check.h"

namespace octavo::testing {
namespace {

using KernelRowsTest = ::testing::Test;

Layout layout_of(uint32_t seed) { return seed % 2 == 0 ? Layout::kPlain : Layout::kChannelsLast; }

TEST_F(KernelRowsTest, Softmax) {
  for_each_case(40, [](uint32_t seed) {
    KernelCase c(seed);
    const Shape shapes[] = {{c.pick(1, 40), c.pick(1, 20)},
                            {c.pick(1, 3), c.pick(1, 200)},
                            {2, c.pick(1, 30), c.pick(1, 9), c.pick(1, 9)}};
    const Shape& shape = shapes[seed % 3];
    const ValueId x = c.add_input(DType::kF32, shape);
    for (float& v : c.data[0].data<float>()) v *= 50;
    Node& node = c.add_node(c.flip() ? OpKind::kSoftmax : OpKind::kLogSoftmax, {x},
                            {c.add_output(DType::kF32)});
    node.set("axis", int64_t{c.pick(-shape.rank(), shape.rank() - 1)});
    check(c, "softmax_f32", layout_of(seed));
  });
}

TEST_F(KernelRowsTest, Normalizations) {
  for_each_case(40, [](uint32_t seed) {
    KernelCase c(seed);
    const OpKind kinds[] = {OpKind::kLayerNormalization, OpKind::kInstanceNormalization,
                            OpKind::kGroupNormalization, OpKind::kBatchNormalization};
    const OpKind kind = kinds[seed % 4];
    const int groups = c.pick(1, 4);
    // Few elements that happen to be nearly equal would have rounding for their deviations.
    const Shape shape{c.pick(1, 3), groups * c.pick(1, 8), c.pick(1, 9), c.pick(8, 30)};
    const ValueId x = c.add_input(DType::kF32, shape);
    for (float& v : c.data[0].data<float>()) v += 3;
    const int axis = c.pick(1, 3);
    const bool by_element = kind == OpKind::kLayerNormalization;
    const Shape factors{by_element ? shape.elements(axis, 4) : shape[1]};
    std::vector<ValueId> inputs{x, c.add_constant(c.random(DType::kF32, factors))};
    if (!by_element || c.flip()) inputs.push_back(c.add_constant(c.random(DType::kF32, factors)));
    std::string_view kernel = "normalize_f32";
    if (kind == OpKind::kBatchNormalization) {
      kernel = "batch_norm_f32";
      inputs.push_back(c.add_constant(c.random(DType::kF32, factors)));
      Tensor variance = c.random(DType::kF32, factors);
      for (float& v : variance.data<float>()) v = v * v + 0.5f;
      inputs.push_back(c.add_constant(variance));
    }
    Node& node = c.add_node(kind, inputs, {c.add_output(DType::kF32)});
    if (by_element) node.set("axis", int64_t{axis});
    if (kind == OpKind::kGroupNormalization) node.set("num_groups", int64_t{groups});
    check(c, kernel, layout_of(seed / 4));
  });
}

TEST_F(KernelRowsTest, Reductions) {
  const std::vector<int64_t> axes[] = {{}, {0}, {1}, {-1}, {2, 3}, {1, 2, 3}, {0, 1}};
  for_each_case(21, [&](uint32_t seed) {
    for (const OpKind kind :
         {OpKind::kReduceSum, OpKind::kReduceMean, OpKind::kReduceMax, OpKind::kReduceMin,
          OpKind::kReduceL1, OpKind::kReduceL2, OpKind::kReduceSumSquare}) {
      SCOPED_TRACE(concat(op_name(kind), " ", seed));
      KernelCase c(seed);
      const ValueId x = c.add_input(
          DType::kF32, Shape{c.pick(1, 4), c.pick(1, 80), c.pick(1, 20), c.pick(1, 20)});
      std::vector<ValueId> inputs{x};
      const auto& list = axes[seed % 7];
      if (!list.empty()) inputs.push_back(c.add_constant(Tensor::vector_i64(list)));
      Node& node = c.add_node(kind, inputs, {c.add_output(DType::kF32)});
      if (c.flip()) node.set("keepdims", int64_t{0});
      // Axes that are not neighbours in memory are left to the reference.
      const auto compiled = c.compile();
      ASSERT_TRUE(compiled) << compiled.error().to_string();
      if (compiled->step == nullptr) {
        EXPECT_TRUE(list == std::vector<int64_t>({1}) || list == std::vector<int64_t>({0, 1}) ||
                    list == std::vector<int64_t>({-1}));
        continue;
      }
      check(c, "reduce_f32", node.get_int("keepdims") != 0 ? layout_of(seed) : Layout::kPlain,
            /*magnitude=*/100);
      if (HasFatalFailure()) return;
    }
  });
}

TEST_F(KernelRowsTest, ExtremaOfNaN) {
  for_each_target([] {
    for (const OpKind kind : {OpKind::kReduceMax, OpKind::kReduceMin}) {
      KernelCase c(1);
      const ValueId x = c.add_input(DType::kF32, Shape{2, 100});
      c.data[0].data<float>()[37] = std::nanf("");
      c.add_node(kind, {x, c.add_constant(Tensor::vector_i64(std::array{int64_t{1}}))},
                 {c.add_output(DType::kF32)});
      auto compiled = c.compile();
      ASSERT_TRUE(compiled && compiled->step != nullptr && compiled->run());
      EXPECT_TRUE(std::isnan(compiled->outputs[0].data<float>()[0]));
      EXPECT_FALSE(std::isnan(compiled->outputs[0].data<float>()[1]));
    }
  });
}

TEST_F(KernelRowsTest, Recurrent) {
  for_each_case(48, [](uint32_t seed) {
    KernelCase c(seed);
    const OpKind kind = std::array{OpKind::kLSTM, OpKind::kGRU, OpKind::kRNN}[seed % 3];
    const int gates = kind == OpKind::kLSTM ? 4 : kind == OpKind::kGRU ? 3 : 1;
    const char* direction = std::array{"forward", "reverse", "bidirectional"}[c.pick(0, 2)];
    const int directions = direction[0] == 'b' ? 2 : 1;
    const bool batch_first = c.flip();
    const int steps = c.pick(1, 5), batch = c.pick(1, 4), input = c.pick(1, 30);
    const int hidden = c.pick(1, 40);
    const auto weights = [&](const Shape& shape) {
      return c.add_constant(c.random(DType::kF32, shape));
    };
    const Shape state =
        batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
    std::vector<ValueId> inputs{
        c.add_input(DType::kF32,
                    batch_first ? Shape{batch, steps, input} : Shape{steps, batch, input}),
        weights({directions, gates * hidden, input}), weights({directions, gates * hidden, hidden}),
        c.flip() ? weights({directions, 2 * gates * hidden}) : kNoValue, kNoValue};
    inputs.push_back(c.flip() ? c.add_input(DType::kF32, state) : kNoValue);
    std::vector<ValueId> outputs{c.flip() ? c.add_output(DType::kF32) : kNoValue,
                                 c.add_output(DType::kF32)};
    if (kind == OpKind::kLSTM) {
      inputs.push_back(c.flip() ? c.add_input(DType::kF32, state) : kNoValue);
      inputs.push_back(c.flip() ? weights({directions, 3 * hidden}) : kNoValue);
      outputs.push_back(c.add_output(DType::kF32));
    }
    Node& node = c.add_node(kind, inputs, outputs);
    node.set("direction", std::string(direction));
    node.set("hidden_size", int64_t{hidden});
    node.set("layout", int64_t{batch_first});
    if (c.flip()) node.set("clip", 0.7f);
    if (kind == OpKind::kGRU && c.flip()) node.set("linear_before_reset", int64_t{1});
    if (kind == OpKind::kLSTM && c.flip()) node.set("input_forget", int64_t{1});
    if (kind == OpKind::kRNN && c.flip()) {
      node.set("activations",
               std::vector<std::string>(static_cast<size_t>(directions), "LeakyRelu"));
    }
    check(c, "recurrent_f32", Layout::kPlain, /*magnitude=*/10);
  });
}

}  // namespace
}  // namespace octavo::testing
