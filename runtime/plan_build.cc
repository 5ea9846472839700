// From units to entries: steps are compiled, layouts settled, and slots made for tensors.
#include <algorithm>

#include "runtime/infer.h"
#include "runtime/kernels/reorder.h"
#include "runtime/limits.h"
#include "runtime/plan_impl.h"

namespace octavo {
namespace {

// A rank >= 3 tensor whose bytes are the same in both layouts.
bool layouts_coincide(const Shape& shape) {
  return shape.rank() < 3 || shape[1] == 1 || shape.elements(2, shape.rank()) <= 1;
}

int64_t count_macs(const PlanGraph& graph, const Node& node, const OpDef& op) {
  if (op.quant.policy != QuantPolicy::kCompute) return 0;
  const ValueId weight = node.input(static_cast<size_t>(op.quant.weight_input));
  const ValueId output = node.output(0);
  if (!graph.is_static(weight) || !graph.is_static(output)) return 0;
  const Shape& w = graph.info(weight).shape;
  const int axis =
      op.quant.weight_axis < 0 ? w.rank() + op.quant.weight_axis : op.quant.weight_axis;
  if (axis < 0 || axis >= w.rank() || w[axis] == 0) return 0;
  return graph.info(output).shape.elements() * (w.elements() / w[axis]);
}

}  // namespace

int PlanImpl::new_output_slot(PlanGraph& plan_graph, ValueId value, Layout layout) {
  const TensorInfo& info = plan_graph.info(value);
  Slot slot;
  slot.value = value;
  slot.view = {nullptr, info.dtype, layout, info.shape, info.quant.get()};
  if (info.shape.is_static() && info.dtype != DType::kString) {
    slot.buffer = static_cast<int>(buffers_.size());
    buffers_.push_back({slot.view.bytes()});
  } else {
    slot.kind = Slot::Kind::kDynamic;
  }
  plan_graph.layouts[static_cast<size_t>(value)] = layout;
  return slot_of(value, layout) = add_slot(std::move(slot));
}

Result<int> PlanImpl::constant_slot(const PlanGraph& plan_graph, ValueId value, Layout layout,
                                    int rank) {
  const TensorInfo& info = plan_graph.info(value);
  Slot slot{.kind = Slot::Kind::kConstant, .value = value, .held = info.constant};
  slot.view = info.constant.view(info.quant.get());
  const bool is_list = info.shape.rank() <= 1 && info.quant == nullptr &&
                       (info.dtype == DType::kI64 || info.dtype == DType::kI32);
  if (layout == Layout::kChannelsLast && info.shape.rank() > 0 && rank >= 3 && !is_list) {
    // An operand that broadcasts: leading ones up to the activations' rank, then their layout.
    Shape expanded = Shape::filled(std::max(rank - info.shape.rank(), 0), 1);
    for (const int64_t dim : info.shape) expanded.push_back(dim);
    OCTAVO_ASSIGN(slot.held, Tensor::create(info.dtype, expanded));
    TensorView from = slot.view, to = slot.held.view(info.quant.get());
    from.shape = expanded;
    to.layout = layout;
    kernels::reorder(from, to, options_.pool);
    slot.view = to;
  }
  return add_slot(std::move(slot));
}

// The slot that holds `value` in `layout`, converting if there is none yet.
Result<int> PlanImpl::slot_in(PlanGraph& plan_graph, ValueId value, Layout layout) {
  if (plan_graph.is_constant(value)) return constant_slot(plan_graph, value, layout, 0);
  if (const int existing = slot_of(value, layout); existing >= 0) return existing;
  const Layout other = layout == Layout::kPlain ? Layout::kChannelsLast : Layout::kPlain;
  const int from = slot_of(value, other);
  if (from < 0) return fail(ErrorCode::kInternal, "'", graph_.value(value).name, "' has no slot");
  const Slot source = slots_[static_cast<size_t>(from)];
  if (layouts_coincide(source.view.shape)) {
    Slot same = source;
    same.view.layout = layout;
    same.source = from;
    const int index = slot_of(value, layout) = add_slot(std::move(same));
    if (source.kind == Slot::Kind::kInput) late_slots_.push_back(index);
    return index;
  }
  const Layout original = plan_graph.layouts[static_cast<size_t>(value)];
  const int to = new_output_slot(plan_graph, value, layout);
  plan_graph.layouts[static_cast<size_t>(value)] = original;
  Entry entry{.kind = Entry::Kind::kReorder, .inputs = {from}, .outputs = {to}};
  entry.info = {graph_.value(value).name, "Reorder", "reorder", "plan",
                source.view.shape.to_string()};
  entries_.push_back(std::move(entry));
  return to;
}

Layout PlanImpl::settle_layout(const PlanGraph& plan_graph, const Claim& claim) const {
  if (claim.layout == ClaimLayout::kPlain) return Layout::kPlain;
  if (claim.layout == ClaimLayout::kChannelsLast) return Layout::kChannelsLast;
  // kFollow: channels-last if the largest activation is, and all can be.
  int rank = -1;
  int64_t largest = -1;
  Layout layout = Layout::kPlain;
  for (const NodeId n : claim.nodes) {
    for (const ValueId id : graph_.node(n).inputs) {
      if (id == kNoValue || plan_graph.is_constant(id)) continue;
      const Shape& shape = plan_graph.info(id).shape;
      if (shape.elements() == 1) continue;
      if (shape.rank() < 3 || (rank >= 0 && shape.rank() != rank)) return Layout::kPlain;
      rank = shape.rank();
      if (shape.elements() > largest) {
        largest = shape.elements();
        layout = plan_graph.layouts[static_cast<size_t>(id)];
      }
    }
    for (const ValueId id : graph_.node(n).outputs) {
      if (id != kNoValue && plan_graph.info(id).shape.rank() != rank) return Layout::kPlain;
    }
  }
  return layout;
}

void PlanImpl::observe(const PlanGraph& plan_graph, Entry& entry) const {
  for (const int slot : entry.outputs) {
    if (slot < 0) continue;
    const ValueId value = slots_[static_cast<size_t>(slot)].value;
    if (plan_graph.is_watched[static_cast<size_t>(value)]) entry.observed.push_back(slot);
  }
}

// Reshape and the like: the output is another view of the input's bytes.
bool PlanImpl::add_alias(PlanGraph& plan_graph, const Node& node) {
  const ValueId input = node.input(0), output = node.output(0);
  if (!plan_graph.is_static(input) || !plan_graph.is_static(output) ||
      plan_graph.is_constant(input) || plan_graph.info(output).dtype == DType::kString ||
      plan_graph.info(input).dtype != plan_graph.info(output).dtype) {
    return false;
  }
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) return false;  // Dropout's mask
  }
  // Of pixels too, as long as only they are counted in other ways: 1x8x5x5 as 1x8x25.
  const Shape &x = plan_graph.info(input).shape, &y = plan_graph.info(output).shape;
  const int pixels = slot_of(input, Layout::kChannelsLast);
  if (pixels >= 0 && slot_of(input, Layout::kPlain) < 0 && y.rank() >= 3 && x[0] == y[0] &&
      x[1] == y[1]) {
    return alias_slot(plan_graph, node, pixels, Layout::kChannelsLast);
  }
  const auto from = slot_in(plan_graph, input, Layout::kPlain);
  return from && alias_slot(plan_graph, node, *from, Layout::kPlain);
}

// A transpose between NCHW and NHWC of a tensor that lies in memory as its result does in the other
// layout: nothing to do.
bool PlanImpl::add_permuted(PlanGraph& plan_graph, const Node& node) {
  const ValueId input = node.input(0), output = node.output(0);
  const auto perm = node.get_ints("perm");
  const auto rank = static_cast<int64_t>(perm.size());
  if (rank < 3 || plan_graph.is_constant(input) || !plan_graph.is_static(output) ||
      plan_graph.info(output).dtype == DType::kString) {
    return false;
  }
  const auto &from = plan_graph.info(input).quant, &to = plan_graph.info(output).quant;
  const bool same_quant =
      from == nullptr ? to == nullptr : to != nullptr && from->per_tensor() && *from == *to;
  if (!same_quant || perm[0] != 0) return false;
  bool to_nhwc = true, to_nchw = true;
  for (int64_t i = 1; i < rank; ++i) {
    const int64_t axis = perm[static_cast<size_t>(i)];
    to_nhwc &= axis == (i + 1 == rank ? 1 : i + 1);
    to_nchw &= axis == (i == 1 ? rank - 1 : i - 1);
  }
  if (to_nhwc && slot_of(input, Layout::kChannelsLast) >= 0) {
    return alias_slot(plan_graph, node, slot_of(input, Layout::kChannelsLast), Layout::kPlain);
  }
  if (to_nchw && slot_of(input, Layout::kPlain) >= 0) {
    return alias_slot(plan_graph, node, slot_of(input, Layout::kPlain), Layout::kChannelsLast);
  }
  return false;
}

// Makes the node's output another view, in `layout`, of the bytes of slot `from`.
bool PlanImpl::alias_slot(PlanGraph& plan_graph, const Node& node, int from, Layout layout) {
  const ValueId output = node.output(0);
  Slot alias = slots_[static_cast<size_t>(from)];
  if (alias.kind == Slot::Kind::kInput) {
    alias.source = from;
  } else if (alias.kind != Slot::Kind::kArena) {
    return false;
  }
  alias.value = output;
  alias.view.shape = plan_graph.info(output).shape;
  alias.view.quant = plan_graph.info(output).quant.get();
  alias.view.layout = layout;
  const int slot = slot_of(output, layout) = add_slot(std::move(alias));
  if (slots_[static_cast<size_t>(slot)].kind == Slot::Kind::kInput) late_slots_.push_back(slot);
  plan_graph.layouts[static_cast<size_t>(output)] = layout;
  if (plan_graph.is_watched[static_cast<size_t>(output)]) {
    // Shown by an entry that does nothing else.
    Entry entry{.kind = Entry::Kind::kReorder, .inputs = {}, .outputs = {slot}};
    entry.info = {node.name, std::string(op_name(node.kind)), "alias", "plan", ""};
    observe(plan_graph, entry);
    entries_.push_back(std::move(entry));
  }
  return true;
}

Status PlanImpl::add_reference(PlanGraph& plan_graph, const Node& node) {
  const OpDef& op = *find_op(node.kind);
  const Layout layout = settle_layout(
      plan_graph,
      {{static_cast<NodeId>(&node - graph_.nodes.data())},
       op.layout == LayoutRule::kAgnostic ? ClaimLayout::kFollow : ClaimLayout::kPlain});
  Entry entry{.kind = Entry::Kind::kReference, .node = &node, .op = &op};
  for (const ValueId id : node.inputs) {
    int slot = -1;
    if (id != kNoValue && plan_graph.is_constant(id)) {
      OCTAVO_ASSIGN(slot, constant_slot(plan_graph, id, layout,
                                        plan_graph.info(node.outputs[0]).shape.rank()));
    } else if (id != kNoValue) {
      OCTAVO_ASSIGN(slot, slot_in(plan_graph, id, layout));
    }
    entry.inputs.push_back(slot);
  }
  for (const ValueId id : node.outputs) {
    entry.outputs.push_back(id == kNoValue ? -1 : new_output_slot(plan_graph, id, layout));
  }
  const ValueId first = node.output(0);
  entry.info = {node.name,
                op.name,
                "reference",
                "portable",
                first == kNoValue ? "" : plan_graph.info(first).shape.to_string(),
                count_macs(plan_graph, node, op)};
  observe(plan_graph, entry);
  entries_.push_back(std::move(entry));
  return {};
}

// Shapes are known only while running: inference and allocation happen then.
Status PlanImpl::add_dynamic(PlanGraph& plan_graph, const Node& node) {
  Entry entry{.kind = Entry::Kind::kDynamic, .node = &node, .op = find_op(node.kind)};
  for (const ValueId id : node.inputs) {
    int slot = -1;
    if (id != kNoValue) {
      OCTAVO_ASSIGN(slot, slot_in(plan_graph, id, Layout::kPlain));
    }
    entry.inputs.push_back(slot);
  }
  for (const ValueId id : node.outputs) {
    entry.outputs.push_back(id == kNoValue ? -1 : new_output_slot(plan_graph, id, Layout::kPlain));
  }
  entry.info = {node.name, entry.op->name, "dynamic", "portable", "?"};
  observe(plan_graph, entry);
  entries_.push_back(std::move(entry));
  return {};
}

Status PlanImpl::add_unit(PlanGraph& plan_graph, const Unit& unit) {
  const Node& front = graph_.node(unit.claim.nodes.front());
  if (unit.claim.nodes.size() == 1 && front.kind == OpKind::kTranspose &&
      add_permuted(plan_graph, front)) {
    return {};
  }
  if (unit.backend == nullptr) {
    const Node& node = front;
    const OpDef& op = *find_op(node.kind);
    if ((op.flags & kAlias) != 0 && add_alias(plan_graph, node)) return {};
    const auto is_static = [&](ValueId id) {
      return id == kNoValue ||
             (plan_graph.is_static(id) && plan_graph.info(id).dtype != DType::kString);
    };
    if ((op.flags & kHasBody) != 0 || !std::ranges::all_of(node.inputs, is_static) ||
        !std::ranges::all_of(node.outputs, is_static)) {
      return add_dynamic(plan_graph, node);
    }
    return add_reference(plan_graph, node);
  }
  const Layout layout = settle_layout(plan_graph, unit.claim);
  PackingScope packing(options_.weight_cache, plan_graph, unit.claim, unit.backend->name());
  plan_graph.packing = &packing;
  OCTAVO_ASSIGN(std::unique_ptr<Step> step, unit.backend->compile(plan_graph, unit.claim, layout));
  plan_graph.packing = nullptr;
  const Node& last = graph_.node(unit.claim.nodes.back());
  if (step == nullptr) {  // it is the last backend's, and that one's references'
    Backend* const next =
        unit.backend == options_.backends.back() ? nullptr : options_.backends.back();
    for (const NodeId n : unit.claim.nodes) {
      std::vector<bool> only(graph_.nodes.size(), false);
      only[static_cast<size_t>(n)] = true;
      Unit one{Claim{{n}}, next};
      if (next != nullptr) one.claim = next->claim(plan_graph, only).front();
      OCTAVO_TRY(add_unit(plan_graph, one));
    }
    return {};
  }
  packing.keep();
  Entry entry{.kind = Entry::Kind::kStep};
  const auto layout_of = [&](ValueId id) {
    return plan_graph.info(id).shape.rank() < 3 ? Layout::kPlain : layout;
  };
  for (const ValueId id : step->inputs) {
    OCTAVO_ASSIGN(const int slot, slot_in(plan_graph, id, layout_of(id)));
    entry.inputs.push_back(slot);
  }
  for (const ValueId id : step->outputs) {
    entry.outputs.push_back(new_output_slot(plan_graph, id, layout_of(id)));
  }
  int64_t macs = 0;
  for (const NodeId n : unit.claim.nodes) {
    macs += count_macs(plan_graph, graph_.node(n), *find_op(graph_.node(n).kind));
  }
  entry.info = {last.name,
                std::string(op_name(last.kind)),
                step->kernel,
                std::string(unit.backend->name()),
                plan_graph.info(step->outputs.front()).shape.to_string(),
                macs};
  entry.step = std::move(step);
  observe(plan_graph, entry);
  entries_.push_back(std::move(entry));
  return {};
}

Status PlanImpl::build(std::span<const TensorInfo> inputs) {
  PlanGraph plan_graph{graph_, {}, {}, {}, {}};
  if (options_.pool != nullptr) plan_graph.threads = options_.pool->max_thread_count();
  OCTAVO_ASSIGN(plan_graph.infos, infer_graph(graph_, inputs, limits::kPlanFoldElements));
  const size_t values = graph_.values.size();
  plan_graph.layouts.assign(values, Layout::kPlain);
  plan_graph.use_counts.assign(values, 0);
  plan_graph.is_watched.assign(values, false);
  for (size_t i = 0; options_.watch != nullptr && i < values; ++i) {
    plan_graph.is_watched[i] = options_.watch->wants(static_cast<ValueId>(i));
  }
  value_slots_.assign(values, {-1, -1});
  for (const ValueId id : graph_.inputs) {
    const TensorInfo& info = plan_graph.info(id);
    Slot slot{.kind = Slot::Kind::kInput, .value = id};
    slot.view = {nullptr, info.dtype, Layout::kPlain, info.shape, info.quant.get()};
    input_slots_.push_back(slot_of(id, Layout::kPlain) = add_slot(std::move(slot)));
  }
  const std::vector<bool> live = find_live_nodes(plan_graph);
  for (const Unit& unit : make_units(plan_graph, live)) OCTAVO_TRY(add_unit(plan_graph, unit));
  for (const ValueId id : graph_.outputs) {
    OCTAVO_ASSIGN(const int slot, slot_in(plan_graph, id, Layout::kPlain));
    output_slots_.push_back(slot);
  }
  if (options_.weight_cache != nullptr) options_.weight_cache->save();
  return place_memory();
}

}  // namespace octavo
