// Speed of the portable kernels on the layers of MobileNetV2 and ResNet-20, one thread.
//   build/native/tests/octavo_bench --benchmark_repetitions=5

#include <benchmark/benchmark.h>

#include "kernel_case.h"

namespace octavo::testing {
namespace {

struct ConvLayer {
  const char* name;
  int64_t size, in, out, kernel, stride, groups;
};

constexpr ConvLayer kLayers[] = {
    {"first 224x3-32 s2", 224, 3, 32, 3, 2, 1},
    {"expand 112x16-96", 112, 16, 96, 1, 1, 1},
    {"expand 56x24-144", 56, 24, 144, 1, 1, 1},
    {"project 56x144-24", 56, 144, 24, 1, 1, 1},
    {"expand 28x32-192", 28, 32, 192, 1, 1, 1},
    {"expand 14x64-384", 14, 64, 384, 1, 1, 1},
    {"project 14x384-96", 14, 384, 96, 1, 1, 1},
    {"expand 7x160-960", 7, 160, 960, 1, 1, 1},
    {"project 7x960-320", 7, 960, 320, 1, 1, 1},
    {"last 7x320-1280", 7, 320, 1280, 1, 1, 1},
    {"dense 56x256-256", 56, 256, 256, 1, 1, 1},
    {"resnet20 32x16-16", 32, 16, 16, 3, 1, 1},
    {"resnet20 16x32-32", 16, 32, 32, 3, 1, 1},
    {"resnet20 8x64-64", 8, 64, 64, 3, 1, 1},
    {"resnet8 32x8-8", 32, 8, 8, 3, 1, 1},
    {"squeezenet 13x64-256", 13, 64, 256, 3, 1, 1},
    {"resnet18 56x64-64", 56, 64, 64, 3, 1, 1},
    {"resnet18 28x128-128", 28, 128, 128, 3, 1, 1},
    {"resnet18 14x256-256", 14, 256, 256, 3, 1, 1},
    {"resnet18 7x512-512", 7, 512, 512, 3, 1, 1},
    {"dw 112x32", 112, 32, 32, 3, 1, 32},
    {"dw 112x96 s2", 112, 96, 96, 3, 2, 96},
    {"dw 56x144", 56, 144, 144, 3, 1, 144},
    {"dw 28x192", 28, 192, 192, 3, 1, 192},
    {"dw 14x384", 14, 384, 384, 3, 1, 384},
    {"dw 7x960", 7, 960, 960, 3, 1, 960},
    {"dw 14x384 k5", 14, 384, 384, 5, 1, 384},
    {"deep 13x512-1000", 13, 512, 1000, 1, 1, 1},
    {"deep 65x512-256", 65, 512, 256, 1, 1, 1},
    {"deep 65x960-320", 65, 960, 320, 1, 1, 1},
    {"deep 65x160-960", 65, 160, 960, 1, 1, 1},
    {"deep 65x960-160", 65, 960, 160, 1, 1, 1},
    {"squeezenet 222x3-64 s2", 222, 3, 64, 3, 2, 1},
    {"squeeze 55x64-16", 55, 64, 16, 1, 1, 1},
    {"expand 55x16-64", 55, 16, 64, 1, 1, 1},
    {"squeeze 27x128-32", 27, 128, 32, 1, 1, 1},
};

void run_conv(benchmark::State& state, const ConvLayer& layer, bool int8) {
  KernelCase c(1);
  const Shape x{1, layer.in, layer.size, layer.size};
  const Shape w{layer.out, layer.in / layer.groups, layer.kernel, layer.kernel};
  const Shape b{layer.out};
  ValueId y;
  if (int8) {
    const ValueId in = c.add_input(DType::kU8, x, c.quant(0.02f, 0));
    const ValueId weights = c.add_constant(c.random(DType::kI8, w), c.quant(0.01f, 0));
    const ValueId bias = c.add_constant(c.random(DType::kI32, b));
    y = c.add_output(DType::kU8, c.quant(0.2f, layer.in > layer.out ? 120 : 0));
    c.add_node(OpKind::kConv, {in, weights, bias}, {y});
  } else {
    const ValueId in = c.add_input(DType::kF32, x);
    const ValueId weights = c.add_constant(c.random(DType::kF32, w));
    const ValueId bias = c.add_constant(c.random(DType::kF32, b));
    y = c.add_output(DType::kF32);
    c.add_node(OpKind::kConv, {in, weights, bias}, {y});
    c.graph.nodes[0].set("activation", std::string("Relu"));
  }
  Node& node = c.graph.nodes[0];
  const int64_t pad = layer.kernel / 2;
  node.set("strides", std::vector<int64_t>{layer.stride, layer.stride});
  node.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
  node.set("group", layer.groups);
  auto compiled = c.compile();
  if (!compiled || compiled->step == nullptr) return state.SkipWithError("no kernel");
  for (auto _ : state) {
    if (!compiled->run()) return state.SkipWithError("failed");
  }
  const int64_t macs = compiled->output_views[0].shape.elements() * layer.in / layer.groups *
                       layer.kernel * layer.kernel;
  state.counters["GOPS"] = benchmark::Counter(static_cast<double>(2 * macs) * 1e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

const int kRegistered = [] {
  for (const ConvLayer& layer : kLayers) {
    for (const bool int8 : {false, true}) {
      const std::string name = concat(layer.name, int8 ? " int8" : " f32");
      benchmark::RegisterBenchmark(name.c_str(), [&layer, int8](benchmark::State& state) {
        run_conv(state, layer, int8);
      })->Unit(benchmark::kMicrosecond);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace octavo::testing

BENCHMARK_MAIN();
