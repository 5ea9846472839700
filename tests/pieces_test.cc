// Concatenations whose inputs are computed in their places give the bytes of the references.
#include <gtest/gtest.h>

#include "kernel_check.h"
#include "runtime/session.h"

namespace octavo::testing {
namespace {

// Random operators whose results, of one height and width, are concatenated, some of them twice.
class PiecesCase : public KernelCase {
 public:
  PiecesCase(uint32_t seed, bool int8)
      : KernelCase(seed),
        int8_(int8),
        dtype_(!int8    ? DType::kF32
               : flip() ? DType::kU8
                        : DType::kI8),
        quant_(int8 ? random_quant(dtype_, 0.1f) : nullptr) {
    const Shape x{pick(1, 2), pick(3, 20), pick(1, 9), pick(2, 9)};
    const DType x_dtype = int8 ? DType::kU8 : DType::kF32;
    x_ = add_input(x_dtype, x, int8 ? quant(0.02f, 100) : nullptr);
    channels_ = x[1];
    std::vector<ValueId> pieces;
    for (int i = pick(2, 5); i > 0; --i) pieces.push_back(add_piece());
    if (flip()) {
      const ValueId inner = concat_of({pieces[0], pieces[1]});
      pieces[0] = inner;
      if (flip()) pieces.erase(pieces.begin() + 1);
    }
    const ValueId whole = concat_of(pieces);
    if (flip()) graph.outputs.push_back(pieces.back());
    // What reads it last is not in the plain layout.
    graph.outputs.push_back(conv(whole, value_channels_[static_cast<size_t>(whole)], pick(1, 70)));
  }

 private:
  ValueId value() {
    const ValueId id = add_output(dtype_, quant_);
    graph.outputs.pop_back();
    return id;
  }
  void set_channels(ValueId id, int64_t channels) {
    value_channels_.resize(graph.values.size());
    value_channels_[static_cast<size_t>(id)] = channels;
  }
  ValueId concat_of(const std::vector<ValueId>& pieces) {
    int64_t channels = 0;
    for (const ValueId id : pieces) channels += value_channels_[static_cast<size_t>(id)];
    const ValueId y = value();
    add_node(OpKind::kConcat, pieces, {y}).set("axis", int64_t{1});
    set_channels(y, channels);
    return y;
  }
  ValueId conv(ValueId from, int64_t inputs, int64_t outputs, bool depthwise = false) {
    const int64_t size = pick(0, 1) * 2 + 1;
    const Shape shape{outputs, depthwise ? 1 : inputs, size, size};
    const ValueId w = int8_ ? add_constant(random(DType::kI8, shape), quant(0.01f, 0))
                            : add_constant(random(DType::kF32, shape));
    const ValueId y = value();
    Node& node = add_node(OpKind::kConv, {from, w}, {y});
    node.set("pads", std::vector<int64_t>(4, size / 2));
    if (depthwise) node.set("group", outputs);
    set_channels(y, outputs);
    return y;
  }
  ValueId unary(OpKind kind, ValueId from) {
    const ValueId y = value();
    add_node(kind, {from}, {y});
    set_channels(y, value_channels_[static_cast<size_t>(from)]);
    return y;
  }
  ValueId add_piece() {
    const ValueId first =
        flip() ? conv(x_, channels_, pick(1, 80)) : conv(x_, channels_, channels_, true);
    const int64_t channels = value_channels_[static_cast<size_t>(first)];
    switch (pick(0, 5)) {
      case 0: return unary(OpKind::kSigmoid, first);
      case 1: {  // a function that another node uses too
        const ValueId gate = unary(OpKind::kTanh, first), y = value();
        add_node(OpKind::kMul, {first, gate}, {y});
        set_channels(y, channels);
        return y;
      }
      case 2: {
        const ValueId y = value();
        add_node(OpKind::kAdd, {first, conv(x_, channels_, channels)}, {y});
        set_channels(y, channels);
        return y;
      }
      case 3: {
        const ValueId y = unary(OpKind::kMaxPool, first);
        graph.nodes.back().set("kernel_shape", std::vector<int64_t>{3, 3});
        graph.nodes.back().set("pads", std::vector<int64_t>(4, 1));
        return flip() ? y : unary(OpKind::kSigmoid, y);
      }
      case 4: return conv(first, channels, pick(1, 40));
      default: return first;
    }
  }

  bool int8_;
  DType dtype_;
  std::shared_ptr<const QuantParams> quant_;
  ValueId x_ = kNoValue;
  int64_t channels_ = 0;
  std::vector<int64_t> value_channels_;
};

std::vector<Tensor> run(const KernelCase& c, const SessionOptions& options) {
  auto session = Session::create(std::make_shared<Graph>(c.graph), options);
  EXPECT_TRUE(session) << session.error().to_string();
  const auto outputs = session->run({{c.graph.value(0).name, c.data[0]}});
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : *outputs) tensors.push_back(tensor);
  return tensors;
}

TEST(Pieces, AreComputedInTheirPlaces) {
  for_each_case(60, [](uint32_t seed) {
    const PiecesCase c(seed, seed % 3 != 0);
    const auto expected = run(c, {.reference_only = true});
    for (const auto& pool : {std::shared_ptr<ThreadPool>(),
                             std::shared_ptr<ThreadPool>(std::make_shared<FakePool>())}) {
      const auto actual = run(c, {.pool = pool});
      ASSERT_EQ(expected.size(), actual.size());
      for (size_t i = 0; i < expected.size(); ++i) expect_same(expected[i], actual[i], 30);
      if (HasFatalFailure()) return;
    }
  });
}

struct Watch final : Observer {
  explicit Watch(std::vector<ValueId> values) : watched(std::move(values)) {}
  bool wants(ValueId value) const override { return std::ranges::contains(watched, value); }
  Status on_value(ValueId, const TensorView&) override { return {}; }
  std::vector<ValueId> watched;
};

TEST(Pieces, NeedNoMemoryOfTheirOwn) {
  KernelCase c(1);
  const auto q = c.quant(0.05f, 128);
  const ValueId x = c.add_input(DType::kU8, {2, 16, 16, 16}, q);
  const auto add = [&](OpKind kind, std::vector<ValueId> inputs) {
    const ValueId y = c.add_output(DType::kU8, q);
    c.graph.outputs.pop_back();
    c.add_node(kind, std::move(inputs), {y});
    return y;
  };
  std::vector<ValueId> pieces;
  for (const int64_t channels : {32, 64}) {
    const Tensor weights = c.random(DType::kI8, {channels, 16, 1, 1});
    pieces.push_back(add(OpKind::kConv, {x, c.add_constant(weights, c.quant(0.01f, 0))}));
  }
  const ValueId whole = add(OpKind::kConcat, pieces);
  c.graph.nodes.back().set("axis", int64_t{1});
  c.graph.outputs = {add(OpKind::kGlobalAveragePool, {whole})};
  auto session = *Session::create(std::make_shared<Graph>(c.graph));
  const std::vector<TensorView> feeds = {c.data[0].view(q.get())};
  // What is watched is shown as a tensor of its own.
  const Watch watch(pieces);
  const auto apart = session.plan_for(feeds, &watch);
  ASSERT_TRUE(apart) << apart.error().to_string();
  const int64_t apart_bytes = (*apart)->arena_bytes();
  const auto together = session.plan_for(feeds);
  ASSERT_TRUE(together) << together.error().to_string();
  // Of 96 channels, less those of the input, which are not needed at the same time.
  constexpr int64_t kPixels = 2 * 16 * 16;
  EXPECT_LE((*together)->arena_bytes(), apart_bytes - kPixels * (96 - 16));
}

}  // namespace
}  // namespace octavo::testing
