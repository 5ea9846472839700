// A graph of one node with random tensors, for running one kernel against its reference.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "runtime/backend.h"
#include "runtime/infer.h"
#include "runtime/kernels/reorder.h"

namespace octavo::testing {

class KernelCase {
 public:
  explicit KernelCase(uint32_t seed) : random_(seed) {}

  int pick(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random_); }
  bool flip() { return pick(0, 1) == 1; }
  float real(float lo, float hi) { return std::uniform_real_distribution<float>(lo, hi)(random_); }

  /// Random elements: f32 and bf16 in [-1, 1), integers over their whole range (i32: +-1000).
  Tensor random(DType dtype, const Shape& shape) {
    Tensor tensor = *Tensor::create(dtype, shape);
    visit_dtype(
        dtype,
        [&]<class T>() {
          for (T& x : tensor.data<T>()) {
            if constexpr (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) {
              x = T(real(-1, 1));
            } else if constexpr (std::is_integral_v<T> && sizeof(T) == 1) {
              x = static_cast<T>(pick(0, 255));
            } else {
              x = static_cast<T>(pick(-1000, 1000));
            }
          }
        },
        [] {});
    return tensor;
  }
  std::shared_ptr<const QuantParams> quant(float scale, int32_t zero_point) {
    return std::make_shared<QuantParams>(QuantParams{{scale}, {zero_point}});
  }
  /// Per-tensor parameters with a random scale around `scale` and a random zero point.
  std::shared_ptr<const QuantParams> random_quant(DType dtype, float scale) {
    const int zero_point = dtype == DType::kU8 ? pick(0, 255) : pick(-128, 127);
    return quant(scale * real(0.5f, 2.0f), zero_point);
  }

  ValueId add_input(DType dtype, const Shape& shape,
                    std::shared_ptr<const QuantParams> quant = {}) {
    const ValueId id = add(dtype, shape, std::move(quant));
    data.resize(graph.values.size());
    data.back() = random(dtype, shape);
    graph.inputs.push_back(id);
    return id;
  }
  ValueId add_constant(Tensor tensor, std::shared_ptr<const QuantParams> quant = {}) {
    const ValueId id = add(tensor.dtype(), tensor.shape(), std::move(quant));
    graph.values.back().constant = std::move(tensor);
    return id;
  }
  ValueId add_output(DType dtype, std::shared_ptr<const QuantParams> quant = {}) {
    const ValueId id = add(dtype, Shape::unknown(), std::move(quant));
    graph.outputs.push_back(id);
    return id;
  }
  Node& add_node(OpKind kind, std::vector<ValueId> inputs, std::vector<ValueId> outputs) {
    graph.nodes.push_back({kind, std::move(inputs), std::move(outputs), {}, "node"});
    return graph.nodes.back();
  }

  Result<std::vector<Tensor>> reference() const {
    OCTAVO_ASSIGN(const auto infos, infer_graph(graph, {}, 0));
    const Node& node = graph.nodes[0];
    std::vector<TensorView> inputs;
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) {
        inputs.emplace_back();
        continue;
      }
      const Value& value = graph.value(id);
      const Tensor& tensor =
          value.constant.present() ? value.constant : data[static_cast<size_t>(id)];
      inputs.push_back(tensor.view(value.quant.get()));
    }
    std::vector<TensorInfo> outputs;
    for (const ValueId id : node.outputs) {
      outputs.push_back(id == kNoValue ? TensorInfo{} : infos[static_cast<size_t>(id)]);
    }
    return evaluate(node, inputs, outputs);
  }

  /// The portable backend's step for the node with everything that a run of it needs.
  struct Compiled {
    std::unique_ptr<Step> step;  // nullptr: no kernel
    std::vector<Tensor> inputs, outputs;
    std::vector<TensorView> input_views, output_views;
    Tensor scratch;

    Status run(ThreadPool* pool = nullptr) {
      return step->run({input_views, output_views, static_cast<std::byte*>(scratch.raw()), pool});
    }
  };
  /// `layout`: of activations, if the kernel follows its input. `threads`: the most that run it.
  Result<Compiled> compile(Layout layout = Layout::kPlain, int threads = 1) const {
    OCTAVO_ASSIGN(auto infos, infer_graph(graph, {}, 0));
    PlanGraph plan{graph, std::move(infos), {}, {}, {}, threads};
    plan.layouts.assign(graph.values.size(), layout);
    plan.use_counts.assign(graph.values.size(), 1);
    plan.is_watched.assign(graph.values.size(), false);
    const auto backend = make_portable_backend();
    const auto claims = backend->claim(plan, {true});
    const ClaimLayout wanted = claims[0].layout;
    if (wanted != ClaimLayout::kFollow) {
      layout = wanted == ClaimLayout::kPlain ? Layout::kPlain : Layout::kChannelsLast;
    }
    Compiled compiled;
    OCTAVO_ASSIGN(compiled.step, backend->compile(plan, claims[0], layout));
    if (compiled.step == nullptr) return compiled;
    const auto add_view = [&](ValueId id, std::vector<Tensor>& tensors,
                              std::vector<TensorView>& views) -> Status {
      const TensorInfo& info = plan.info(id);
      OCTAVO_ASSIGN(Tensor tensor, Tensor::create(info.dtype, info.shape));
      TensorView view = tensor.view(info.quant.get());
      if (view.shape.rank() >= 3) view.layout = layout;
      tensors.push_back(std::move(tensor));
      views.push_back(view);
      return {};
    };
    for (const ValueId id : compiled.step->inputs) {
      OCTAVO_TRY(add_view(id, compiled.inputs, compiled.input_views));
      kernels::reorder(data[static_cast<size_t>(id)].view(), compiled.input_views.back(), nullptr);
    }
    for (const ValueId id : compiled.step->outputs) {
      OCTAVO_TRY(add_view(id, compiled.outputs, compiled.output_views));
    }
    OCTAVO_ASSIGN(compiled.scratch,
                  Tensor::create(DType::kU8, Shape{compiled.step->scratch_bytes()}));
    return compiled;
  }
  /// The outputs in plain layout.
  static Result<std::vector<Tensor>> plain_outputs(const Compiled& compiled) {
    std::vector<Tensor> plain;
    for (const TensorView& view : compiled.output_views) {
      OCTAVO_ASSIGN(Tensor tensor, Tensor::create(view.dtype, view.shape));
      kernels::reorder(view, tensor.view(), nullptr);
      plain.push_back(std::move(tensor));
    }
    return plain;
  }

  Graph graph;
  std::vector<Tensor> data;  // by ValueId: the inputs' elements

 private:
  ValueId add(DType dtype, const Shape& shape, std::shared_ptr<const QuantParams> quant) {
    Value value;
    value.name = concat("value", graph.values.size());
    value.dtype = dtype;
    value.shape = shape;
    value.quant = std::move(quant);
    return graph.add_value(std::move(value));
  }

  std::mt19937 random_;
};

}  // namespace octavo::testing
