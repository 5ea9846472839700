// The oneDNN backend against the portable kernels: int8 results are the same bytes, floats agree in
// all but the last bits, on every instruction set that oneDNN can be held to.
#include "native/onednn/onednn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "native/onednn/device.h"
#include "observed_run.h"
#include "runtime/kernels/gemm.h"
#include "tests/random_loader.h"

namespace octavo::testing {
namespace {

Outcome run(const KernelCase& c, std::vector<std::shared_ptr<Backend>> backends) {
  return observed_run(c, {.backends = std::move(backends)});
}

void expect_same(const KernelCase& c) {
  const Outcome portable = run(c, {});
  const Outcome onednn = run(c, {make_onednn_backend(true)});
  // Of 8-bit integers only where the CPU has dot products of them.
  EXPECT_TRUE(std::ranges::contains(onednn.steps.backends, "onednn") ||
              portable.output.dtype() != DType::kF32);
  ASSERT_EQ(portable.output.shape(), onednn.output.shape());
  const auto count = static_cast<size_t>(portable.output.elements());
  if (portable.output.dtype() == DType::kF32) {
    const auto a = portable.output.data<float>(), b = onednn.output.data<float>();
    for (size_t i = 0; i < count; ++i) {
      ASSERT_NEAR(a[i], b[i], 1e-4f * std::max(1.0f, std::fabs(a[i]))) << "element " << i;
    }
    return;
  }
  const auto* a = static_cast<const uint8_t*>(portable.output.raw());
  const auto* b = static_cast<const uint8_t*>(onednn.output.raw());
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(+a[i], +b[i]) << "element " << i;
}

struct ConvCase {
  int64_t in, out, group, kernel, stride, dilation;
  bool residual;
};
constexpr ConvCase kConvs[] = {
    {16, 32, 1, 1, 1, 1, false},  {3, 16, 1, 3, 2, 1, false},  {24, 24, 24, 3, 1, 1, false},
    {32, 32, 32, 3, 2, 1, false}, {16, 16, 1, 3, 1, 1, true},  {20, 36, 1, 1, 1, 1, true},
    {12, 18, 3, 3, 1, 2, false},  {64, 80, 1, 3, 1, 1, false}, {40, 8, 1, 5, 2, 1, false},
};

KernelCase conv_case(const ConvCase& shape, bool int8, bool is_signed, uint32_t seed,
                     DType real = DType::kF32) {
  KernelCase c(seed);
  const Shape x{2, shape.in, 13, 11};
  const Shape w{shape.out, shape.in / shape.group, shape.kernel, shape.kernel};
  const int64_t pad = shape.kernel / 2 * shape.dilation;
  const int64_t height =
      (13 + 2 * pad - shape.dilation * (shape.kernel - 1) - 1) / shape.stride + 1;
  const int64_t width = (11 + 2 * pad - shape.dilation * (shape.kernel - 1) - 1) / shape.stride + 1;
  const Shape y{2, shape.out, height, width};
  std::vector<ValueId> inputs;
  ValueId output;
  if (int8) {
    const DType type = is_signed ? DType::kI8 : DType::kU8;
    const float sum =
        128 * 128 * 0.6f * std::sqrt(static_cast<float>(w.elements() / shape.out)) / 127;
    inputs = {c.add_input(type, x, c.random_quant(type, 0.02f)),
              c.add_constant(c.random(DType::kI8, w), c.quant(0.01f, 0)),
              c.add_constant(c.random(DType::kI32, Shape{shape.out}))};
    if (shape.residual) inputs.push_back(c.add_input(type, y, c.random_quant(type, 0.02f)));
    output = c.add_output(type, c.random_quant(type, 0.02f * 0.01f * sum));
  } else {
    inputs = {c.add_input(real, x), c.add_constant(c.random(real, w)),
              c.add_constant(c.random(real, Shape{shape.out}))};
    if (shape.residual) inputs.push_back(c.add_input(real, y));
    output = c.add_output(real);
  }
  Node& node = c.add_node(OpKind::kConv, inputs, {output});
  node.set("strides", std::vector<int64_t>{shape.stride, shape.stride});
  node.set("dilations", std::vector<int64_t>{shape.dilation, shape.dilation});
  node.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
  node.set("group", shape.group);
  if (seed % 3 == 1) node.set("activation", std::string("Relu"));
  if (seed % 3 == 2) {
    node.set("activation", std::string("Clip"));
    node.set("activation_params", std::vector<float>{-0.5f, 1.5f});
  }
  return c;
}

TEST(OneDnn, ConvInt8GivesThePortableBytes) {
  uint32_t seed = 0;
  for (const ConvCase& shape : kConvs) {
    for (const bool is_signed : {false, true}) {
      SCOPED_TRACE(concat("in ", shape.in, " out ", shape.out, is_signed ? " i8" : " u8"));
      expect_same(conv_case(shape, true, is_signed, ++seed));
    }
  }
}

TEST(OneDnn, ConvF32) {
  uint32_t seed = 0;
  for (const ConvCase& shape : kConvs) {
    SCOPED_TRACE(concat("in ", shape.in, " out ", shape.out));
    expect_same(conv_case(shape, false, false, ++seed));
  }
}

TEST(OneDnn, MatMul) {
  for (const bool int8 : {false, true}) {
    KernelCase c(3);
    const Shape x{2, 9, 40}, w{40, 24};
    if (int8) {
      c.add_node(OpKind::kMatMul,
                 {c.add_input(DType::kU8, x, c.quant(0.02f, 7)),
                  c.add_constant(c.random(DType::kI8, w), c.quant(0.01f, 0))},
                 {c.add_output(DType::kU8, c.quant(0.1f, 120))});
    } else {
      c.add_node(OpKind::kMatMul,
                 {c.add_input(DType::kF32, x), c.add_constant(c.random(DType::kF32, w))},
                 {c.add_output(DType::kF32)});
    }
    expect_same(c);
  }
}

// Sequences and volumes.
TEST(OneDnn, ConvInOtherDimensions) {
  for (const int rank : {1, 3}) {
    for (const bool int8 : {false, true}) {
      SCOPED_TRACE(concat(rank, "-D", int8 ? " int8" : " f32"));
      KernelCase c(7);
      Shape x{2, 16}, w{24, 16};
      for (int d = 0; d < rank; ++d) {
        x.push_back(9 - d);
        w.push_back(3);
      }
      const ValueId output =
          int8 ? c.add_output(DType::kU8, c.quant(3, 120)) : c.add_output(DType::kF32);
      const DType in = int8 ? DType::kU8 : DType::kF32, weights = int8 ? DType::kI8 : DType::kF32;
      const auto quant = [&](float scale, int32_t zero) {
        return int8 ? c.quant(scale, zero) : std::shared_ptr<const QuantParams>();
      };
      Node& node = c.add_node(OpKind::kConv,
                              {c.add_input(in, x, quant(0.02f, 7)),
                               c.add_constant(c.random(weights, w), quant(0.01f, 0))},
                              {output});
      const auto size = static_cast<size_t>(rank);
      node.set("pads", std::vector<int64_t>(2 * size, 1));
      node.set("strides", std::vector<int64_t>(size, 2));
      expect_same(c);
    }
  }
}

// Of a float graph's values in bf16: oneDNN computes them where the CPU does, like the portable
// kernels but for the last bits.
void expect_half(const Graph& graph, OpKind op) {
  const Model model(std::make_shared<const Graph>(graph));
  const auto half = quantize_model(model, MixedPrecisionConfig(), nullptr);
  ASSERT_TRUE(half) << half.error().to_string();
  const NamedTensors feeds = **RandomLoader(graph, 1).next();
  std::vector<Tensor> outputs;
  for (const bool onednn : {false, true}) {
    SessionOptions options;
    if (onednn) options.backends.push_back(make_onednn_backend());
    auto session = half->model.create_session(options);
    ASSERT_TRUE(session) << session.error().to_string();
    StepNames steps;
    const auto ran = session->run(feeds, &steps);
    ASSERT_TRUE(ran) << ran.error().to_string();
    outputs.push_back(ran->front().second);
    EXPECT_EQ(std::ranges::count(steps.backends, "onednn"),
              onednn && onednn::cpu_device()->computes_in(DType::kBF16) ? 1 : 0);
  }
  const auto a = outputs[0].data<float>(), b = outputs[1].data<float>();
  ASSERT_EQ(a.size(), b.size());
  float largest = 0;
  for (const float x : a) largest = std::max(largest, std::fabs(x));
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], largest / 200) << op_name(op) << ", element " << i;
  }
}

TEST(OneDnn, ProductsOfComputedHalves) {
  for (const Shape& left : {Shape{2, 3, 9, 40}, Shape{1, 3, 9, 40}}) {
    GraphBuilder b;
    const ValueId x = b.input("x", left), y = b.input("y", {2, 3, 40, 24});
    expect_half(b.output(b.node(OpKind::kMatMul, {x, y}, "product")).build(), OpKind::kMatMul);
  }
}

TEST(OneDnn, TransposedConvolutionsOfHalves) {
  using Ints = std::vector<int64_t>;
  const struct {
    Shape x, w;
    std::vector<Attribute> attributes;
  } cases[] = {
      {{2, 8, 11}, {8, 6, 4}, {{"strides", Ints{2}}}},
      {{1, 8, 7, 9},
       {8, 16, 3, 3},
       {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}, {"output_padding", Ints{1, 1}}}},
      {{2, 8, 7, 9}, {8, 5, 3, 2}, {{"group", int64_t{2}}, {"dilations", Ints{2, 1}}}},
      {{1, 4, 5, 4},
       {4, 3, 4, 4},
       {{"strides", Ints{2, 3}}, {"auto_pad", std::string("SAME_UPPER")}}},
      {{1, 4, 3, 4, 5}, {4, 6, 2, 3, 3}, {{"pads", Ints{0, 1, 1, 0, 0, 1}}}},
  };
  for (const auto& [x, w, attributes] : cases) {
    SCOPED_TRACE(w.to_string());
    GraphBuilder b;
    const int64_t group = attributes[0].name == "group" ? 2 : 1;
    const ValueId y =
        b.node(OpKind::kConvTranspose,
               {b.input("x", x), b.random("w", w), b.random("b", {w[1] * group})}, "y", attributes);
    expect_half(b.output(y).build(), OpKind::kConvTranspose);
  }
}

KernelCase transposed_case(bool int8) {
  KernelCase c(4);
  const Shape x{40, 9}, w{24, 40};
  const auto quant = [&](float scale, int32_t zero) {
    return int8 ? c.quant(scale, zero) : std::shared_ptr<const QuantParams>();
  };
  const DType in = int8 ? DType::kU8 : DType::kF32, weights = int8 ? DType::kI8 : DType::kF32;
  Node& node = c.add_node(
      OpKind::kGemm,
      {c.add_input(in, x, quant(0.02f, 7)), c.add_constant(c.random(weights, w), quant(0.01f, 0))},
      {c.add_output(in, quant(0.1f, 120))});
  node.set("transA", int64_t{1});
  node.set("transB", int64_t{1});
  return c;
}

TEST(OneDnn, GemmOfColumns) {
  for (const bool int8 : {false, true}) expect_same(transposed_case(int8));
}

// Softmax, layer normalization with and without an offset, and GELU.
KernelCase row_case(OpKind op, const Shape& shape, bool offset = true) {
  KernelCase c(5);
  std::vector<ValueId> inputs = {c.add_input(DType::kF32, shape)};
  for (float& x : c.data[0].data<float>()) x *= 8;
  for (int i = 0; op == OpKind::kLayerNormalization && i < (offset ? 2 : 1); ++i) {
    inputs.push_back(c.add_constant(c.random(DType::kF32, Shape{shape.back()})));
  }
  c.add_node(op, inputs, {c.add_output(DType::kF32)});
  return c;
}

constexpr OpKind kRowOps[] = {OpKind::kSoftmax, OpKind::kLayerNormalization, OpKind::kGelu};

TEST(OneDnn, RowsAndFunctions) {
  for (const OpKind op : kRowOps) {
    for (const Shape& shape : {Shape{50, 37}, Shape{3, 5, 7, 20}, Shape{19}}) {
      SCOPED_TRACE(concat(op_name(op), " ", shape.to_string()));
      expect_same(row_case(op, shape));
    }
  }
  expect_same(row_case(OpKind::kLayerNormalization, Shape{4, 33}, false));
}

// A function behind a float convolution is computed with it; what else reads the convolution's
// result still gets it.
TEST(OneDnn, FunctionsBehindConvolutions) {
  const auto with = [](OpKind function, bool times_itself, bool keep) {
    KernelCase c = conv_case(kConvs[0], false, false, 3);
    const ValueId y = c.graph.outputs[0];
    const ValueId gate = c.add_output(DType::kF32);
    c.add_node(function, {y}, {gate});
    c.graph.outputs = {gate};
    if (times_itself) {
      const ValueId product = c.add_output(DType::kF32);
      c.add_node(OpKind::kMul, {y, gate}, {product});
      c.graph.outputs = {product};
    }
    if (keep) c.graph.outputs.push_back(y);
    return c;
  };
  for (const OpKind function :
       {OpKind::kSigmoid, OpKind::kTanh, OpKind::kHardSwish, OpKind::kHardSigmoid,
        OpKind::kLeakyRelu, OpKind::kElu, OpKind::kGelu}) {
    const KernelCase c = with(function, false, false);
    SCOPED_TRACE(op_name(function));
    expect_same(c);
    EXPECT_EQ(std::ranges::count(run(c, {make_onednn_backend(true)}).steps.backends, "portable"),
              0);
  }
  const KernelCase silu = with(OpKind::kSigmoid, true, false);
  expect_same(silu);
  EXPECT_EQ(std::ranges::count(run(silu, {make_onednn_backend(true)}).steps.backends, "portable"),
            0);
  const KernelCase kept = with(OpKind::kSigmoid, true, true);
  expect_same(kept);
  EXPECT_EQ(std::ranges::count(run(kept, {make_onednn_backend(true)}).steps.backends, "portable"),
            1);
}

/// `now` of `most` threads are left: other sessions have the rest.
struct SharedPool final : ThreadPool {
  SharedPool(int most, int now) : most(most), now(now) {}
  int thread_count() const override { return now; }
  int max_thread_count() const override { return most; }
  void run(int64_t count, const std::function<void(int64_t)>& fn) override {
    for (int64_t i = 0; i < count; ++i) fn(i);
  }
  int most, now;
};

int64_t threads_of_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// Threads of which OpenMP makes more than the calling one when a session of `most` threads runs
// while `now` are left. They stay while the thread that runs the session lives.
int64_t helpers(const std::shared_ptr<Backend>& backend, bool int8, int most, int now) {
  const KernelCase c = conv_case({128, 256, 1, 3, 1, 1, false}, int8, false, 1);
  const auto pool = std::make_shared<SharedPool>(most, most);
  auto session =
      Session::create(std::make_shared<Graph>(c.graph), {.backends = {backend}, .pool = pool});
  EXPECT_TRUE(session);
  const auto run_it = [&] {
    const ValueId x = c.graph.inputs[0];
    EXPECT_TRUE(session->run({{c.graph.value(x).name, c.data[static_cast<size_t>(x)]}}));
  };
  const int64_t others = threads_of_process();
  const auto wait_for_helpers = [&] {  // they end a little later than the thread they helped
    while (threads_of_process() > others) std::this_thread::yield();
  };
  std::thread(run_it).join();
  wait_for_helpers();
  pool->now = now;
  int64_t made = 0;
  std::thread([&] {
    const int64_t before = threads_of_process();
    run_it();
    made = threads_of_process() - before;
  }).join();
  wait_for_helpers();
  return made;
}

TEST(OneDnn, KeepsToTheThreadsOfTheSession) {
  for (const bool int8 : {false, true}) {
    for (const auto& backend : {make_onednn_backend(true), make_onednn_graph_backend()}) {
      SCOPED_TRACE(concat(backend->name(), int8 ? " int8" : " f32"));
      EXPECT_EQ(helpers(backend, int8, 1, 1), 0);
      // Without dot products of bytes the portable kernels compute, in the threads of the pool.
      const bool claimed = !int8 || onednn::cpu_device()->computes_in(DType::kU8);
      EXPECT_EQ(helpers(backend, int8, 2, 2), claimed ? 1 : 0);
      EXPECT_EQ(helpers(backend, int8, 2, 1), 0);
    }
  }
}

TEST(OneDnn, ClaimsOnlyWhatPays) {
  const auto claimed = [](const KernelCase& c) {
    return std::ranges::contains(run(c, {make_onednn_backend()}).steps.backends, "onednn");
  };
  for (const OpKind op : kRowOps) {
    EXPECT_FALSE(claimed(row_case(op, Shape{40, 64}))) << op_name(op);
    EXPECT_TRUE(claimed(row_case(op, Shape{1600, 64}))) << op_name(op);
  }
  EXPECT_FALSE(claimed(row_case(OpKind::kSoftmax, Shape{60'000, 2})));
  EXPECT_TRUE(claimed(transposed_case(false)));
  // A layer of a few thousand multiplications is the portable kernels'.
  const KernelCase small = conv_case({4, 4, 1, 1, 1, 1, false}, true, false, 1);
  EXPECT_FALSE(claimed(small));
  const bool amx = onednn_arithmetic(DType::kBF16) == "native (AMX)";
  for (const bool int8 : {false, true}) {
    const KernelCase large = conv_case({128, 256, 1, 3, 1, 1, false}, int8, false, 1);
    EXPECT_EQ(claimed(large), amx);
  }
  // In bf16 the portable kernels are as fast without AMX, if the CPU has instructions for it at
  // all.
  const bool native = onednn_arithmetic(DType::kBF16) != "emulated";
  const KernelCase bf16 = conv_case({128, 256, 1, 3, 1, 1, false}, false, false, 1, DType::kBF16);
  EXPECT_EQ(claimed(bf16), amx || (native && !kernels::has_gemm_bf16()));
  const KernelCase depthwise =
      conv_case({64, 64, 64, 3, 1, 1, false}, false, false, 1, DType::kBF16);
  EXPECT_FALSE(claimed(depthwise));
}

// Runs the tests above in processes of their own, in which oneDNN may use less than the CPU has.
TEST(OneDnnIsa, ResultsHoldWithoutNewerInstructions) {
  const std::string tests = std::filesystem::read_symlink("/proc/self/exe").string();
  for (const char* isa : {"SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI"}) {
    const std::string command = concat("ONEDNN_MAX_CPU_ISA=", isa, " '", tests,
                                       "' --gtest_filter='OneDnn.*' --gtest_brief=1 > /dev/null");
    EXPECT_EQ(std::system(command.c_str()), 0) << isa;
  }
}

}  // namespace
}  // namespace octavo::testing
