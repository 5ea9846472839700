#include "runtime/kernels/half.h"

#include "runtime/ceil_div.h"
#include "runtime/kernels/kernel_step.h"

namespace octavo::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth another thread
constexpr int64_t kAlignment = 64;

void widen_view(const TensorView& from, float* to, ThreadPool* pool) {
  const auto* x = from.as<const uint16_t>();
  parallel_for(pool, from.elements(), kGrain, [&](int64_t begin, int64_t end) {
    widen_row(from.dtype, x + begin, to + begin, end - begin);
  });
}
void narrow_view(const float* from, const TensorView& to, ThreadPool* pool) {
  auto* y = to.as<uint16_t>();
  parallel_for(pool, to.elements(), kGrain, [&](int64_t begin, int64_t end) {
    narrow_row(to.dtype, from + begin, y + begin, end - begin);
  });
}

/// A node by itself, as a graph in which half-precision values are float32.
struct Widened {
  Graph graph;
  PlanGraph plan{graph, {}, {}, {}, {}};
  std::vector<ValueId> originals;  // by ValueId of `graph`

  Widened() = default;
  Widened(const Widened&) = delete;
  Widened& operator=(const Widened&) = delete;
};

bool has_half(const PlanGraph& graph, const Node& node) {
  const auto half = [&](ValueId id) { return id != kNoValue && is_half(graph.info(id).dtype); };
  return std::ranges::any_of(node.inputs, half) || std::ranges::any_of(node.outputs, half);
}

Status widen_node(const PlanGraph& graph, const Node& node, Widened& made) {
  const auto add = [&](ValueId id) -> Result<ValueId> {
    if (id == kNoValue) return kNoValue;
    const auto found = std::ranges::find(made.originals, id);
    if (found != made.originals.end()) {
      return static_cast<ValueId>(found - made.originals.begin());
    }
    TensorInfo info = graph.info(id);
    if (is_half(info.dtype)) {
      info.dtype = DType::kF32;
      if (info.constant.present()) {
        OCTAVO_ASSIGN(const Tensor wide, Tensor::create(DType::kF32, info.constant.shape()));
        widen_view(info.constant.view(), static_cast<float*>(wide.view().data), nullptr);
        info.constant = wide;
      }
    }
    const auto index = static_cast<size_t>(id);
    made.originals.push_back(id);
    made.plan.infos.push_back(info);
    made.plan.layouts.push_back(graph.layouts[index]);
    made.plan.use_counts.push_back(graph.use_counts[index]);
    made.plan.is_watched.push_back(graph.is_watched[index]);
    return made.graph.add_value({.name = graph.graph.value(id).name,
                                 .dtype = info.dtype,
                                 .shape = info.shape,
                                 .quant = info.quant,
                                 .constant = info.constant});
  };
  Node copy = node;
  for (auto* ids : {&copy.inputs, &copy.outputs}) {
    for (ValueId& id : *ids) {
      OCTAVO_ASSIGN(id, add(id));
    }
  }
  made.graph.nodes.push_back(std::move(copy));
  return {};
}

class WidenedStep final : public Step {
 public:
  WidenedStep(const PlanGraph& graph, const Widened& widened, std::unique_ptr<Step> inner)
      : inner_(std::move(inner)) {
    // Scratch: the tensors in float32, then the inner step's.
    const auto place = [&](const std::vector<ValueId>& from, std::vector<ValueId>& to,
                           std::vector<Tap>& taps) {
      for (const ValueId id : from) {
        to.push_back(widened.originals[static_cast<size_t>(id)]);
        const TensorInfo& info = graph.info(to.back());
        taps.push_back({is_half(info.dtype), inner_scratch_});
        if (taps.back().is_half) inner_scratch_ += round_up(info.shape.elements() * 4, kAlignment);
      }
    };
    place(inner_->inputs, inputs, input_taps_);
    place(inner_->outputs, outputs, output_taps_);
    input_views_.resize(inputs.size());
    output_views_.resize(outputs.size());
    const bool bf16 = std::ranges::any_of(
        widened.originals, [&](ValueId id) { return graph.info(id).dtype == DType::kBF16; });
    kernel = concat(inner_->kernel, bf16 ? "_bf16" : "_f16");
  }

  int64_t scratch_bytes() const override { return inner_scratch_ + inner_->scratch_bytes(); }

  Status run(const StepContext& context) override {
    const auto wide = [&](const TensorView& view, const Tap& tap) {
      TensorView made = view;
      if (tap.is_half) {
        made.dtype = DType::kF32;
        made.data = context.scratch + tap.offset;
      }
      return made;
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      input_views_[i] = wide(context.inputs[i], input_taps_[i]);
      if (input_taps_[i].is_half) {
        widen_view(context.inputs[i], input_views_[i].as<float>(), context.pool);
      }
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      output_views_[i] = wide(context.outputs[i], output_taps_[i]);
    }
    OCTAVO_TRY(
        inner_->run({input_views_, output_views_, context.scratch + inner_scratch_, context.pool}));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!output_taps_[i].is_half) continue;
      narrow_view(output_views_[i].as<const float>(), context.outputs[i], context.pool);
    }
    return {};
  }

 private:
  struct Tap {
    bool is_half;
    int64_t offset;  // in scratch, if half
  };
  std::unique_ptr<Step> inner_;
  std::vector<Tap> input_taps_, output_taps_;
  std::vector<TensorView> input_views_, output_views_;
  int64_t inner_scratch_ = 0;
};

}  // namespace

const KernelDef* find_widened(const PlanGraph& graph, const Node& node, FindKernel find) {
  if (!has_half(graph, node)) return nullptr;
  Widened widened;
  if (!widen_node(graph, node, widened)) return nullptr;
  return find(widened.plan, widened.graph.nodes[0]);
}

[[gnu::cold]] Result<std::unique_ptr<Step>> create_widened(const PlanGraph& graph, const Node& node,
                                                           Layout layout, FindKernel find) {
  Widened widened;
  OCTAVO_TRY(widen_node(graph, node, widened));
  const KernelDef* kernel = find(widened.plan, widened.graph.nodes[0]);
  if (kernel == nullptr) return nullptr;
  OCTAVO_ASSIGN(std::unique_ptr<Step> inner,
                kernel->create(widened.plan, widened.graph.nodes[0], layout));
  inner->kernel = kernel->name;
  return std::unique_ptr<Step>(new WidenedStep(graph, widened, std::move(inner)));
}

namespace {

// Cast between float32 and half precision.
bool is_half_cast(const PlanGraph& graph, const Node& node) {
  const ValueId x = node.input(0), y = node.output(0);
  if (graph.is_constant(x)) return false;
  const DType from = graph.info(x).dtype, to = graph.info(y).dtype;
  return (from == DType::kF32 && is_half(to)) || (is_half(from) && to == DType::kF32);
}

class HalfCastStep final : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    return std::unique_ptr<Step>(new HalfCastStep(graph, node));
  }
  Status run(const StepContext& context) override {
    const TensorView x = input(context, 0);
    if (is_half(x.dtype)) {
      widen_view(x, context.outputs[0].as<float>(), context.pool);
    } else {
      narrow_view(x.as<const float>(), context.outputs[0], context.pool);
    }
    return {};
  }

 private:
  using KernelStep::KernelStep;
};

constexpr KernelDef kRows[] = {
    {"cast_half", OpKind::kCast, ClaimLayout::kFollow, is_half_cast, HalfCastStep::create},
};

}  // namespace

std::span<const KernelDef> half_kernels() { return kRows; }

}  // namespace octavo::kernels
