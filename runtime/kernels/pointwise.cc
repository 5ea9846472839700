// Functions of one number: 8-bit integers through a table of 256 entries, floats block by block.
// Several nodes that amount to one such function, as x * sigmoid(x), are one step, and with a
// kernel in front that looks its results up while they are in the cache, one step with that.
#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "runtime/infer.h"
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/half.h"
#include "runtime/kernels/kernel_step.h"
#include "runtime/kernels/requantize_ending.h"
#include "runtime/readers.h"

namespace octavo::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth another thread
constexpr int64_t kBlock = 1024;   // floats that stay in L1 from one link to the next
constexpr size_t kMaxLinks = 4;

constexpr OpKind kFloatOps[] = {
    OpKind::kAbs,       OpKind::kNeg,         OpKind::kSqrt,      OpKind::kFloor,   OpKind::kCeil,
    OpKind::kRound,     OpKind::kReciprocal,  OpKind::kRelu,      OpKind::kClip,    OpKind::kExp,
    OpKind::kLeakyRelu, OpKind::kHardSigmoid, OpKind::kHardSwish, OpKind::kSigmoid, OpKind::kTanh,
    OpKind::kErf,       OpKind::kGelu,        OpKind::kElu,
};
constexpr OpKind kTableOps[] = {
    OpKind::kAbs,     OpKind::kNeg,       OpKind::kRelu,     OpKind::kClip,
    OpKind::kExp,     OpKind::kLeakyRelu, OpKind::kSqrt,     OpKind::kHardSigmoid,
    OpKind::kSigmoid, OpKind::kHardSwish, OpKind::kTanh,     OpKind::kErf,
    OpKind::kGelu,    OpKind::kElu,       OpKind::kCelu,     OpKind::kSelu,
    OpKind::kMish,    OpKind::kSoftplus,  OpKind::kSoftsign, OpKind::kThresholdedRelu,
};
constexpr OpKind kBinaryOps[] = {OpKind::kAdd, OpKind::kSub, OpKind::kMul,
                                 OpKind::kDiv, OpKind::kMax, OpKind::kMin};

// What the function of an f32 needs of the node's attributes and constant inputs.
struct UnaryParams {
  float a = 0, b = 0;
};

/// Whether the value is f32, bf16 or f16 numbers.
bool is_real(const PlanGraph& graph, ValueId id) {
  if (id == kNoValue || graph.info(id).quant != nullptr) return false;
  const DType dtype = graph.info(id).dtype;
  return dtype == DType::kF32 || is_half(dtype);
}

/// The one element of a constant that is_real().
float real_scalar(const Tensor& constant) {
  if (constant.dtype() == DType::kF32) return constant.data<float>()[0];
  float value = 0;
  widen_row(constant.dtype(), constant.raw(), &value, 1);
  return value;
}

std::optional<UnaryParams> unary_params(const PlanGraph& graph, const Node& node) {
  switch (node.kind) {
    case OpKind::kClip: {
      UnaryParams bounds{-std::numeric_limits<float>::infinity(),
                         std::numeric_limits<float>::infinity()};
      for (size_t i = 1; i < 3; ++i) {
        const ValueId id = node.input(i);
        if (id == kNoValue) continue;
        if (!graph.is_constant(id) || !is_real(graph, id)) return {};
        const Tensor& constant = graph.info(id).constant;
        if (constant.elements() != 1) return {};
        (i == 1 ? bounds.a : bounds.b) = real_scalar(constant);
      }
      return bounds;
    }
    case OpKind::kElu:
    case OpKind::kLeakyRelu: return UnaryParams{node.get_float("alpha")};
    case OpKind::kHardSigmoid: return UnaryParams{node.get_float("alpha"), node.get_float("beta")};
    case OpKind::kGelu: return UnaryParams{node.get_string("approximate") == "tanh" ? 1.0f : 0.0f};
    default: return UnaryParams{};
  }
}

bool is_binary(OpKind op) { return std::ranges::contains(kBinaryOps, op); }

bool is_unary_f32(const PlanGraph& graph, const Node& node) {
  return std::ranges::contains(kFloatOps, node.kind) && is_real(graph, node.input(0)) &&
         is_real(graph, node.output(0)) &&
         graph.info(node.input(0)).dtype == graph.info(node.output(0)).dtype &&
         !graph.is_constant(node.input(0)) && unary_params(graph, node).has_value();
}

bool is_table(const PlanGraph& graph, const Node& node) {
  if (!std::ranges::contains(kTableOps, node.kind)) return false;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.input(i) != kNoValue && !graph.is_constant(node.input(i))) return false;
  }
  return int8_params(graph, node.input(0)) != nullptr && !graph.is_constant(node.input(0)) &&
         int8_params(graph, node.output(0)) != nullptr;
}

// Add and the like, of the chain's values and constants of one element.
bool is_binary_link(const PlanGraph& graph, const Node& node, bool int8) {
  if (!is_binary(node.kind) || node.inputs.size() != 2) return false;
  const auto fits = [&](ValueId id) {
    return id != kNoValue && (int8 ? int8_params(graph, id) != nullptr : is_real(graph, id)) &&
           (!graph.is_constant(id) || graph.info(id).shape.elements() == 1);
  };
  return fits(node.input(0)) && fits(node.input(1)) && fits(node.output(0));
}

// Whether the node maps the elements of `source` and of `last`, which comes of it, one by one.
bool is_link(const PlanGraph& graph, const Node& node, ValueId source, ValueId last) {
  const bool int8 = int8_params(graph, source) != nullptr;
  const bool fits = int8 ? is_table(graph, node) : is_unary_f32(graph, node);
  if (!fits && !is_binary_link(graph, node, int8)) return false;
  return graph.info(node.output(0)).shape == graph.info(source).shape &&
         (int8 || graph.info(node.output(0)).dtype == graph.info(source).dtype) &&
         std::ranges::all_of(node.inputs, [&](ValueId id) {
           return id == kNoValue || id == source || id == last || graph.is_constant(id);
         });
}

ValueId source_of(const PlanGraph& graph, const Node& node) {
  for (const ValueId id : node.inputs) {
    if (id != kNoValue && !graph.is_constant(id)) return id;
  }
  return kNoValue;
}

// The table of one node, whose inputs are tables of 256 entries or constants.
Result<Tensor> tabulate(const PlanGraph& graph, const Node& node, ValueId source,
                        const Tensor& source_table, ValueId last, const Tensor& last_table) {
  std::vector<TensorView> inputs;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue) {
      inputs.emplace_back();
      continue;
    }
    const TensorInfo& info = graph.info(id);
    const Tensor& from = id == source ? source_table : id == last ? last_table : info.constant;
    inputs.push_back(from.view(info.quant.get()));
    if (is_binary(node.kind) && graph.is_constant(id)) inputs.back().shape = Shape{};
  }
  TensorInfo y = graph.info(node.output(0));
  y.shape = Shape{256};
  OCTAVO_ASSIGN(std::vector<Tensor> results, evaluate(node, inputs, {&y, 1}));
  return std::move(results[0]);
}

// The table of several nodes, each a function of the last one's output, of `source` or of both.
[[gnu::cold]] Result<ByteTable> tabulate_all(const PlanGraph& graph, ValueId source,
                                             std::span<const Node* const> nodes) {
  OCTAVO_ASSIGN(Tensor all, Tensor::create(graph.info(source).dtype, Shape{256}));
  for (size_t i = 0; i < 256; ++i) static_cast<uint8_t*>(all.raw())[i] = static_cast<uint8_t>(i);
  Tensor last_table = all;
  ValueId last = source;
  for (const Node* node : nodes) {
    OCTAVO_ASSIGN(last_table, tabulate(graph, *node, source, all, last, last_table));
    last = node->output(0);
  }
  ByteTable table;
  std::copy_n(static_cast<const uint8_t*>(last_table.raw()), table.size(), table.begin());
  return table;
}

class TableStep final : public Step {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            std::span<const Node* const> nodes) {
    auto step = std::make_unique<TableStep>();
    const ValueId source = source_of(graph, *nodes.front());
    OCTAVO_ASSIGN(step->table_, tabulate_all(graph, source, nodes));
    step->inputs = {source};
    step->outputs = {nodes.back()->output(0)};
    return step;
  }
  int in_place_input() const override { return 0; }
  Status run(const StepContext& context) override {
    const auto* x = context.inputs[0].as<const uint8_t>();
    auto* y = context.outputs[0].as<uint8_t>();
    parallel_for(context.pool, context.outputs[0].elements(), kGrain,
                 [&](int64_t begin, int64_t end) {
                   lookup_row(table_.data(), x + begin, y + begin, end - begin);
                 });
    return {};
  }

 private:
  ByteTable table_{};
};

class FloatStep final : public Step {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            std::span<const Node* const> nodes) {
    auto step = std::make_unique<FloatStep>();
    const ValueId source = source_of(graph, *nodes.front());
    ValueId last = source;
    for (const Node* each : nodes) {
      const Node& node = *each;
      Link& link = step->links_[step->count_++];
      link.op = node.kind;
      for (size_t i = 0; is_binary(node.kind) && i < 2; ++i) {
        const ValueId input = node.input(i);
        if (graph.is_constant(input)) {
          link.from[i] = From::kConstant;
          link.constant[i] = real_scalar(graph.info(input).constant);
        } else if (input == source) {
          link.from[i] = From::kSource;
        }
      }
      if (!is_binary(node.kind)) link.params = *unary_params(graph, node);
      last = node.output(0);
    }
    step->inputs = {source};
    step->outputs = {last};
    step->dtype_ = graph.info(source).dtype;
    return step;
  }
  int in_place_input() const override { return 0; }
  Status run(const StepContext& context) override {
    const TensorView &x = context.inputs[0], &y = context.outputs[0];
    parallel_for(context.pool, y.elements(), kGrain, [&](int64_t begin, int64_t end) {
      for (; begin < end; begin += kBlock) {
        const int64_t count = std::min(kBlock, end - begin);
        if (dtype_ == DType::kF32) {
          run_block(x.as<const float>() + begin, y.as<float>() + begin, count);
        } else {
          run_half_block(x.as<const uint16_t>() + begin, y.as<uint16_t>() + begin, count);
        }
      }
    });
    return {};
  }

 private:
  enum class From : uint8_t { kLast, kSource, kConstant };
  struct Link {
    OpKind op;
    UnaryParams params;          // of a function of one number
    std::array<From, 2> from{};  // of the others' operands
    std::array<float, 2> constant{};
  };

  void run_half_block(const uint16_t* x, uint16_t* y, int64_t count) const {
    alignas(64) float wide[kBlock], result[kBlock];
    widen_row(dtype_, x, wide, count);
    run_block(wide, result, count);
    narrow_row(dtype_, result, y, count);
  }

  void run_block(const float* x, float* y, int64_t count) const {
    alignas(64) float between[kBlock];
    const float* last = x;
    for (size_t i = 0; i < count_; ++i) {
      const Link& link = links_[i];
      float* to = i + 1 == count_ ? y : between;
      if (is_binary(link.op)) {
        const auto operand = [&](size_t o) -> RowOperand {
          if (link.from[o] == From::kConstant) return {&link.constant[o], 0};
          return {link.from[o] == From::kSource ? x : last, 1};
        };
        binary_f32(link.op, operand(0), operand(1), to, count);
      } else {
        unary_f32(link.op, link.params.a, link.params.b, last, to, count);
      }
      last = to;
    }
  }

  std::array<Link, kMaxLinks> links_{};
  size_t count_ = 0;
  DType dtype_ = DType::kF32;
};

[[gnu::cold]] Result<std::unique_ptr<Step>> create_float(const PlanGraph& graph, const Node& node,
                                                         Layout) {
  const Node* const one = &node;
  return FloatStep::create(graph, {&one, 1});
}
[[gnu::cold]] Result<std::unique_ptr<Step>> create_table(const PlanGraph& graph, const Node& node,
                                                         Layout) {
  const Node* const one = &node;
  return TableStep::create(graph, {&one, 1});
}

// Functions that are computed without approximations.
constexpr OpKind kExactOps[] = {OpKind::kAbs,        OpKind::kNeg,       OpKind::kSqrt,
                                OpKind::kFloor,      OpKind::kCeil,      OpKind::kRound,
                                OpKind::kReciprocal, OpKind::kRelu,      OpKind::kClip,
                                OpKind::kLeakyRelu,  OpKind::kHardSwish, OpKind::kHardSigmoid};

constexpr auto kRows = [] {
  std::array<KernelDef, std::size(kFloatOps) + std::size(kTableOps)> rows{};
  auto row = rows.begin();
  for (const OpKind op : kFloatOps) {
    *row++ = {"unary_f32",  op,           ClaimLayout::kFollow,
              is_unary_f32, create_float, std::ranges::contains(kExactOps, op)};
  }
  for (const OpKind op : kTableOps) {
    *row++ = {"table_int8", op, ClaimLayout::kFollow, is_table, create_table, kExact};
  }
  return rows;
}();

// What the nodes make of `source`, if that is f(x) or x * f(x) and kernels end with it.
std::optional<UnaryFunction> function_of(const PlanGraph& graph, ValueId source,
                                         std::span<const NodeId> nodes) {
  if constexpr (kSmallCode) return {};
  const Node& first = graph.graph.node(nodes[0]);
  if (nodes.size() > 2 || !is_unary_f32(graph, first)) return {};
  const UnaryParams params = *unary_params(graph, first);
  if (nodes.size() == 2) {
    const Node& second = graph.graph.node(nodes[1]);
    if (second.kind != OpKind::kMul || !std::ranges::contains(second.inputs, source) ||
        !std::ranges::contains(second.inputs, first.output(0))) {
      return {};
    }
  }
  return UnaryFunction{first.kind, params.a, params.b, nodes.size() == 2};
}

// The row that runs node `id`, if it can end with what the nodes make of its output.
const KernelDef* kernel_before(const PlanGraph& graph, NodeId id, std::span<const NodeId> nodes,
                               FindKernel find) {
  const Node& node = graph.graph.node(id);
  const KernelDef* kernel = find(graph, node);
  if (kernel == nullptr) return nullptr;
  const ValueId y = node.output(0);
  const bool ends = int8_params(graph, y) != nullptr ? kernel->create_with_table != nullptr
                                                     : kernel->create_with_function != nullptr &&
                                                           node.get_string("activation").empty() &&
                                                           function_of(graph, y, nodes).has_value();
  return ends ? kernel : nullptr;
}

// Runs of two or more available nodes that compute a function of one tensor's elements, with no
// result between them used or watched elsewhere; and those of them, or single nodes, that follow a
// node whose kernel ends with a table or function, together with that node.
std::vector<Claim> pointwise_claims(const PlanGraph& graph, const std::vector<bool>& available,
                                    FindKernel find) {
  const Readers readers(graph);
  std::vector<NodeId> writer(graph.graph.values.size(), -1);
  for (size_t n = 0; n < available.size(); ++n) {
    for (const ValueId id : graph.graph.nodes[n].outputs) {
      if (id != kNoValue) writer[static_cast<size_t>(id)] = static_cast<NodeId>(n);
    }
  }
  std::vector<bool> taken(available.size(), false);
  const auto is_free = [&](NodeId id) {
    return available[static_cast<size_t>(id)] && !taken[static_cast<size_t>(id)];
  };
  // The free node that alone uses the value, if that is all that becomes of it.
  const auto sole_reader = [&](ValueId value) -> NodeId {
    const auto all = readers.of(value);
    return !all.empty() && readers.only(value, all.first(1)) && is_free(all[0]) ? all[0] : -1;
  };
  // The free node that computes the value for these nodes alone and can end with them.
  const auto ends_with = [&](ValueId value, std::span<const NodeId> nodes) {
    const NodeId id = writer[static_cast<size_t>(value)];
    return id >= 0 && is_free(id) && readers.only(value, nodes) &&
                   kernel_before(graph, id, nodes, find) != nullptr
               ? id
               : -1;
  };
  std::vector<Claim> claims;
  for (size_t n = 0; n < available.size(); ++n) {
    Claim claim{{static_cast<NodeId>(n)}, ClaimLayout::kFollow};
    const Node& first = graph.graph.nodes[n];
    if (!is_free(claim.nodes.front())) continue;
    const ValueId source = source_of(graph, first);
    if (source == kNoValue || !is_link(graph, first, source, source)) continue;
    ValueId last = first.output(0);
    while (claim.nodes.size() < kMaxLinks) {
      const NodeId next = sole_reader(last);
      if (next < 0 || !is_link(graph, graph.graph.node(next), source, last)) break;
      claim.nodes.push_back(next);
      last = graph.graph.node(next).output(0);
    }
    if (const NodeId before = ends_with(source, claim.nodes); before >= 0) {
      claim.layout = kernel_before(graph, before, claim.nodes, find)->layout;
      claim.nodes.insert(claim.nodes.begin(), before);
    }
    if (claim.nodes.size() < 2) continue;
    for (const NodeId id : claim.nodes) taken[static_cast<size_t>(id)] = true;
    claims.push_back(std::move(claim));
  }
  return claims;
}

[[gnu::cold]] Result<std::unique_ptr<Step>> create_pointwise(const PlanGraph& graph,
                                                             const Claim& claim, Layout,
                                                             FindKernel find) {
  std::vector<const Node*> nodes;
  for (const NodeId id : claim.nodes) nodes.push_back(&graph.graph.node(id));
  const auto followers = std::span(claim.nodes).subspan(1);
  if (const KernelDef* kernel = kernel_before(graph, claim.nodes.front(), followers, find)) {
    const Node& node = *nodes.front();
    const ValueId y = node.output(0), output = nodes.back()->output(0);
    if (const auto function = function_of(graph, y, followers)) {
      OCTAVO_ASSIGN(std::unique_ptr<Step> step,
                    kernel->create_with_function(graph, node, *function, output));
      step->kernel = concat(kernel->name, "_function");
      return step;
    }
    OCTAVO_ASSIGN(const ByteTable table, tabulate_all(graph, y, std::span(nodes).subspan(1)));
    OCTAVO_ASSIGN(std::unique_ptr<Step> step,
                  kernel->create_with_table(graph, node, table, output));
    step->kernel = concat(kernel->name, "_table");
    return step;
  }
  const bool int8 = int8_params(graph, source_of(graph, *nodes.front())) != nullptr;
  OCTAVO_ASSIGN(std::unique_ptr<Step> step,
                int8 ? TableStep::create(graph, nodes) : FloatStep::create(graph, nodes));
  step->kernel = int8 ? "table_int8" : "pointwise_f32";
  return step;
}

}  // namespace

std::span<const KernelDef> pointwise_kernels() { return kRows; }
FusionDef pointwise_fusion() { return {pointwise_claims, create_pointwise}; }

}  // namespace octavo::kernels
