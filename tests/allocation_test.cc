// A session that has run once allocates nothing when it runs again. oneDNN itself allocates a
// little inside of dnnl_primitive_execute, which no caller can avoid: calls out of its library are
// not counted.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "native/model_file.h"
#include "native/run_config.h"
#include "tests/graph_builder.h"
#include "tests/kernel_case.h"
#include "tests/random_loader.h"
#include "tests/shared_data.h"

// The sanitizers have allocators of their own.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void count(const void* caller) {
  if (!counting.load(std::memory_order_relaxed)) return;
  Dl_info info{};
  if (::dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
      std::strstr(info.dli_fname, "libdnnl") != nullptr) {
    return;
  }
  allocations.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
  count(__builtin_return_address(0));
  return __libc_malloc(size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
}

void* operator new(size_t size) {
  count(__builtin_return_address(0));
  if (void* memory = __libc_malloc(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t alignment) {
  count(__builtin_return_address(0));
  if (void* memory = __libc_memalign(static_cast<size_t>(alignment), size)) return memory;
  throw std::bad_alloc();
}

namespace octavo {
namespace {

// A convolution of each kind, a function, a sum, copies, a pool and a product.
Graph float_network() {
  GraphBuilder b;
  const std::vector<Attribute> same = {{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  const ValueId x = b.input("x", {1, 16, 32, 32});
  ValueId y = b.node(OpKind::kConv, {x, b.random("w1", {64, 16, 3, 3}, 0.1f)}, "conv1", same);
  std::vector<Attribute> depthwise = same;
  depthwise.push_back({"group", int64_t{64}});
  const ValueId dw =
      b.node(OpKind::kConv, {y, b.random("w2", {64, 1, 3, 3}, 0.1f)}, "conv2", depthwise);
  const ValueId gate = b.node(OpKind::kSigmoid, {dw}, "gate");
  const ValueId silu = b.node(OpKind::kMul, {dw, gate}, "silu");
  const ValueId sum = b.node(OpKind::kAdd, {silu, y}, "sum");
  y = b.node(OpKind::kSlice,
             {sum, b.ints("starts", {1, 0}), b.ints("ends", {32, 20}), b.ints("axes", {2, 3})},
             "slice");
  y = b.node(OpKind::kPad, {y, b.ints("pads", {0, 0, 1, 0, 0, 0, 0, 2})}, "pad");
  y = b.node(OpKind::kTranspose, {y}, "transpose", {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  y = b.node(OpKind::kGlobalAveragePool, {y}, "pool");
  y = b.node(OpKind::kFlatten, {y}, "flat");
  y = b.node(OpKind::kGemm, {y, b.random("w3", {64, 10})}, "gemm");
  return b.output(y).build();
}

// The same of 8-bit integers, without the product.
Graph int8_network() {
  testing::KernelCase c(5);
  const auto value = [&] {
    const ValueId id = c.add_output(DType::kU8, c.quant(0.05f, 100));
    c.graph.outputs.pop_back();
    return id;
  };
  const ValueId x = c.add_input(DType::kF32, {1, 16, 32, 32});
  const ValueId q = value(), y = value(), dw = value(), gate = value(), sum = value(),
                pool = value();
  c.add_node(OpKind::kQuantizeLinear, {x}, {q});
  const auto conv = [&](ValueId from, ValueId to, const Shape& weights, int64_t group) {
    const ValueId w = c.add_constant(c.random(DType::kI8, weights), c.quant(0.001f, 0));
    Node& node = c.add_node(OpKind::kConv, {from, w}, {to});
    node.set("pads", std::vector<int64_t>{1, 1, 1, 1});
    node.set("group", group);
  };
  conv(q, y, {64, 16, 3, 3}, 1);
  conv(y, dw, {64, 1, 3, 3}, 64);
  c.add_node(OpKind::kSigmoid, {dw}, {gate});
  c.add_node(OpKind::kAdd, {gate, y}, {sum});
  c.add_node(OpKind::kGlobalAveragePool, {sum}, {pool});
  c.graph.outputs = {pool};
  return c.graph;
}

/// Of three runs after the first.
int allocations_of(std::shared_ptr<const Graph> graph, const char* backend, int threads) {
  SCOPED_TRACE(concat(graph->name, " on ", backend, ", threads: ", threads));
  RunConfig config;
  config.backend = backend;
  config.threads = threads;
  const auto feeds = RandomLoader(*graph, 1).next();
  auto options = make_session_options(config);
  EXPECT_TRUE(options) << options.error().to_string();
  auto session = Session::create(std::move(graph), *options);
  EXPECT_TRUE(session) << session.error().to_string();
  std::vector<TensorView> inputs, outputs(session->graph().outputs.size());
  for (const auto& [name, tensor] : **feeds) inputs.push_back(tensor.view());
  const auto run = [&] { return session->run(inputs, outputs).has_value(); };
  EXPECT_TRUE(run());
  allocations = 0;
  counting = true;
  bool all_ran = true;
  for (int i = 0; i < 3; ++i) all_ran &= run();
  counting = false;
  EXPECT_TRUE(all_ran);
  return allocations.load();
}

constexpr const char* kBackends[] = {"portable", "default", "itex"};

TEST(Allocation, NoneInTheSteadyState) {
  for (const char* backend : kBackends) {
    for (const int threads : {1, 2}) {
      for (const Graph& graph : {float_network(), int8_network()}) {
        EXPECT_EQ(allocations_of(std::make_shared<const Graph>(graph), backend, threads), 0);
      }
    }
  }
}

// As they are, and quantized.
TEST(Allocation, NoneInRealNetworks) {
  OCTAVO_SHARED_PATH(folder, "models");
  for (const char* name : {"mobilenetv2", "resnet20", "vww96", "ultraface"}) {
    const auto loaded = load_model(concat(folder, "/", name, ".onnx"));
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    RandomLoader data(loaded->model.graph(), 2);
    const auto small = quantize_model(loaded->model, StaticQuantConfig(), &data);
    ASSERT_TRUE(small) << small.error().to_string();
    for (const Model& model : {loaded->model, small->model}) {
      for (const char* backend : kBackends) {
        EXPECT_EQ(allocations_of(model.shared_graph(), backend, 1), 0) << name << ", " << backend;
      }
    }
  }
}

}  // namespace
}  // namespace octavo

#endif
