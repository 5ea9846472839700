#include "runtime/plan.h"

#include <algorithm>
#include <chrono>

#include "runtime/body_runner.h"
#include "runtime/infer.h"
#include "runtime/kernels/reorder.h"
#include "runtime/limits.h"
#include "runtime/plan_memory.h"

namespace octavo {
namespace {

// One tensor of the plan in one layout: a value, or a value's copy in the other layout.
struct Slot {
  enum class Kind { kArena, kInput, kConstant, kDynamic };
  Kind kind = Kind::kArena;
  ValueId value = kNoValue;
  TensorView view;   // data is set once the arena exists (kArena), at run (kInput, kDynamic)
  int buffer = -1;   // kArena: which buffer; aliases share one
  int source = -1;   // kInput seen in another layout of the same bytes: the slot it shows
  Tensor held = {};  // kConstant: keeps it alive; kDynamic: this run's tensor
};

struct Entry {
  enum class Kind { kStep, kReference, kDynamic, kReorder };
  Kind kind = Kind::kStep;
  const Node* node = nullptr;  // kReference, kDynamic
  const OpDef* op = nullptr;
  std::unique_ptr<Step> step;
  std::vector<int> inputs, outputs;  // slots; -1: absent
  std::vector<TensorView> input_views, output_views;
  std::vector<int> observed;  // slots to show after this entry
  bool late_inputs = false;   // some input's address is known only at run
  StepInfo info;
};

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

class PlanImpl final : public Plan {
 public:
  PlanImpl(const Graph& graph, const PlanOptions& options)
      : graph_(graph), options_(options), runner_(options) {}

  Status build(std::span<const TensorInfo> inputs);
  Status run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
             Observer* observer) override;
  int64_t arena_bytes() const override { return arena_bytes_; }
  std::vector<StepInfo> steps() const override {
    std::vector<StepInfo> infos;
    for (const Entry& entry : entries_) infos.push_back(entry.info);
    return infos;
  }

 private:
  struct Unit {
    Claim claim;
    Backend* backend = nullptr;  // nullptr: the plan runs it by reference
  };

  std::vector<bool> find_live_nodes(PlanGraph& plan_graph) const;
  std::vector<Unit> make_units(PlanGraph& plan_graph, const std::vector<bool>& live) const;
  Status add_unit(PlanGraph& plan_graph, const Unit& unit);
  Status add_reference(PlanGraph& plan_graph, const Node& node);
  Status add_dynamic(PlanGraph& plan_graph, const Node& node);
  bool add_alias(PlanGraph& plan_graph, const Node& node);
  bool add_permuted(PlanGraph& plan_graph, const Node& node);
  bool alias_slot(PlanGraph& plan_graph, const Node& node, int from, Layout layout);
  Layout settle_layout(const PlanGraph& plan_graph, ClaimLayout wanted, const Claim& claim) const;
  Result<int> slot_in(PlanGraph& plan_graph, ValueId value, Layout layout);
  Result<int> constant_slot(const PlanGraph& plan_graph, ValueId value, Layout layout, int rank);
  int new_output_slot(PlanGraph& plan_graph, ValueId value, Layout layout);
  int add_slot(Slot slot) {
    slots_.push_back(std::move(slot));
    return static_cast<int>(slots_.size() - 1);
  }
  int& slot_of(ValueId value, Layout layout) {
    return value_slots_[static_cast<size_t>(value)][layout == Layout::kPlain ? 0 : 1];
  }
  void observe(const PlanGraph& plan_graph, Entry& entry) const;
  Status place_memory();
  Status run_entry(Entry& entry);
  Status run_dynamic(Entry& entry);

  const Graph& graph_;
  PlanOptions options_;
  BodyRunner runner_;
  std::vector<Slot> slots_;
  std::vector<std::array<int, 2>> value_slots_;  // by ValueId: slot in plain, in channels-last
  std::vector<Entry> entries_;
  std::vector<int> input_slots_, output_slots_;
  std::vector<int> late_slots_;  // input slots in another layout of the same bytes
  std::vector<ArenaBuffer> buffers_;
  Tensor arena_, scratch_;
  int64_t arena_bytes_ = 0;
};

// Nodes that something wants, and that are not folded; also counts uses.
std::vector<bool> PlanImpl::find_live_nodes(PlanGraph& plan_graph) const {
  std::vector<bool> live(graph_.nodes.size(), false);
  auto& uses = plan_graph.use_counts;
  for (const ValueId id : graph_.outputs) ++uses[static_cast<size_t>(id)];
  for (size_t n = graph_.nodes.size(); n-- > 0;) {
    const Node& node = graph_.nodes[n];
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || plan_graph.is_constant(id)) continue;
      live[n] = live[n] || uses[static_cast<size_t>(id)] > 0 ||
                plan_graph.is_watched[static_cast<size_t>(id)];
    }
    if (!live[n]) continue;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) ++uses[static_cast<size_t>(id)];
    }
  }
  return live;
}

// Claims of all backends, the rest as units of one node, in topological order.
std::vector<PlanImpl::Unit> PlanImpl::make_units(PlanGraph& plan_graph,
                                                 const std::vector<bool>& live) const {
  const size_t count = graph_.nodes.size();
  std::vector<bool> available(count, false);
  for (size_t n = 0; n < count; ++n) {
    const Node& node = graph_.nodes[n];
    const auto is_static = [&](ValueId id) { return id == kNoValue || plan_graph.is_static(id); };
    available[n] = live[n] && std::ranges::all_of(node.inputs, is_static) &&
                   std::ranges::all_of(node.outputs, is_static) &&
                   (find_op(node.kind)->flags & (kHasBody | kAlias)) == 0;
  }
  std::vector<Unit> units;
  std::vector<int> unit_of(count, -1);
  for (Backend* backend : options_.backends) {
    for (Claim& claim : backend->claim(plan_graph, available)) {
      for (const NodeId node : claim.nodes) {
        available[static_cast<size_t>(node)] = false;
        unit_of[static_cast<size_t>(node)] = static_cast<int>(units.size());
      }
      units.push_back({std::move(claim), backend});
    }
  }
  for (size_t n = 0; n < count; ++n) {
    if (!live[n] || unit_of[n] >= 0) continue;
    unit_of[n] = static_cast<int>(units.size());
    units.push_back({Claim{{static_cast<NodeId>(n)}}, nullptr});
  }
  // A unit is ready once everything its nodes read is computed; claims are convex, so taking units
  // by their last node's position and waiting for the missing ones is a topological order.
  std::vector<int> producer(graph_.values.size(), -1);
  for (size_t n = 0; n < count; ++n) {
    for (const ValueId id : graph_.nodes[n].outputs) {
      if (id != kNoValue && unit_of[n] >= 0) producer[static_cast<size_t>(id)] = unit_of[n];
    }
  }
  std::vector<int> waiting(units.size(), 0);
  std::vector<std::vector<int>> followers(units.size());
  for (size_t u = 0; u < units.size(); ++u) {
    for (const NodeId n : units[u].claim.nodes) {
      for (const ValueId id : graph_.node(n).inputs) {
        const int from = id == kNoValue ? -1 : producer[static_cast<size_t>(id)];
        if (from < 0 || from == static_cast<int>(u)) continue;
        followers[static_cast<size_t>(from)].push_back(static_cast<int>(u));
        ++waiting[u];
      }
    }
  }
  const auto later = [&](int a, int b) {
    return units[static_cast<size_t>(a)].claim.nodes.front() >
           units[static_cast<size_t>(b)].claim.nodes.front();
  };
  std::vector<int> ready;
  for (size_t u = 0; u < units.size(); ++u) {
    if (waiting[u] == 0) ready.push_back(static_cast<int>(u));
  }
  std::ranges::make_heap(ready, later);
  std::vector<Unit> ordered;
  while (!ready.empty()) {
    std::ranges::pop_heap(ready, later);
    const auto u = static_cast<size_t>(ready.back());
    ready.pop_back();
    ordered.push_back(std::move(units[u]));
    for (const int f : followers[u]) {
      if (--waiting[static_cast<size_t>(f)] > 0) continue;
      ready.push_back(f);
      std::ranges::push_heap(ready, later);
    }
  }
  return ordered;
}

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

Layout PlanImpl::settle_layout(const PlanGraph& plan_graph, ClaimLayout wanted,
                               const Claim& claim) const {
  if (wanted == ClaimLayout::kPlain) return Layout::kPlain;
  if (wanted == ClaimLayout::kChannelsLast) return Layout::kChannelsLast;
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
  const Claim claim{{static_cast<NodeId>(&node - graph_.nodes.data())}};
  const Layout layout = settle_layout(
      plan_graph, op.layout == LayoutRule::kAgnostic ? ClaimLayout::kFollow : ClaimLayout::kPlain,
      claim);
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
  const Layout layout =
      settle_layout(plan_graph, unit.backend->layout(plan_graph, unit.claim), unit.claim);
  OCTAVO_ASSIGN(std::unique_ptr<Step> step, unit.backend->compile(plan_graph, unit.claim, layout));
  const Node& last = graph_.node(unit.claim.nodes.back());
  if (step == nullptr) {  // it is the last backend's, and that one's references'
    Backend* const next =
        unit.backend == options_.backends.back() ? nullptr : options_.backends.back();
    for (const NodeId n : unit.claim.nodes) OCTAVO_TRY(add_unit(plan_graph, {Claim{{n}}, next}));
    return {};
  }
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
  return place_memory();
}

Status PlanImpl::place_memory() {
  const int steps = static_cast<int>(entries_.size());
  for (ArenaBuffer& buffer : buffers_) buffer.first = steps, buffer.last = -1;
  const auto touch = [&](int slot, int step) {
    const int buffer = slot < 0 ? -1 : slots_[static_cast<size_t>(slot)].buffer;
    if (buffer < 0) return;
    ArenaBuffer& b = buffers_[static_cast<size_t>(buffer)];
    b.first = std::min(b.first, step);
    b.last = std::max(b.last, step);
  };
  for (int s = 0; s < steps; ++s) {
    const Entry& entry = entries_[static_cast<size_t>(s)];
    for (const int slot : entry.inputs) touch(slot, s);
    for (const int slot : entry.outputs) touch(slot, s);
  }
  for (const int slot : output_slots_) touch(slot, steps);

  // In place: the output takes over the buffer of an input that dies here.
  for (int s = 0; s < steps; ++s) {
    Entry& entry = entries_[static_cast<size_t>(s)];
    int input = -1;
    if (entry.step != nullptr) {
      input = entry.step->in_place_input();
    } else if (entry.kind == Entry::Kind::kReference && (entry.op->flags & kInPlace) != 0) {
      input = 0;
    }
    if (input < 0 || static_cast<size_t>(input) >= entry.inputs.size()) continue;
    const int in_slot = entry.inputs[static_cast<size_t>(input)];
    if (entry.outputs.size() != 1 || in_slot < 0 || entry.outputs[0] < 0) continue;
    const Slot& in = slots_[static_cast<size_t>(in_slot)];
    const Slot& out = slots_[static_cast<size_t>(entry.outputs[0])];
    if (in.buffer < 0 || out.buffer < 0 || in.view.bytes() != out.view.bytes()) continue;
    if (entry.step == nullptr && (in.view.quant != nullptr || in.view.dtype != out.view.dtype)) {
      continue;
    }
    ArenaBuffer& from = buffers_[static_cast<size_t>(in.buffer)];
    ArenaBuffer& to = buffers_[static_cast<size_t>(out.buffer)];
    if (from.last != s || from.bytes != to.bytes) continue;
    if (std::ranges::count_if(entry.inputs, [&](int slot) {
          return slot >= 0 && slots_[static_cast<size_t>(slot)].buffer == in.buffer;
        }) != 1) {
      continue;
    }
    from.last = to.last;
    to.bytes = 0;
    const int dead = out.buffer, kept = in.buffer;
    for (Slot& slot : slots_) {
      if (slot.buffer == dead) slot.buffer = kept;
    }
  }
  int64_t scratch = 0;
  for (const Entry& entry : entries_) {
    if (entry.step != nullptr) scratch = std::max(scratch, entry.step->scratch_bytes());
  }
  std::vector<ArenaBuffer> used;
  std::vector<int> index(buffers_.size(), -1);
  for (size_t b = 0; b < buffers_.size(); ++b) {
    if (buffers_[b].last < buffers_[b].first || buffers_[b].bytes == 0) continue;
    index[b] = static_cast<int>(used.size());
    used.push_back(buffers_[b]);
  }
  arena_bytes_ = pack_arena(used);
  if (arena_bytes_ > limits::kPlanBytes) {
    return fail(ErrorCode::kLimitExceeded, "the model's activations need ", arena_bytes_ >> 20,
                " MiB; the limit is ", limits::kPlanBytes >> 20, " MiB");
  }
  OCTAVO_ASSIGN(arena_, Tensor::create(DType::kU8, Shape{std::max<int64_t>(arena_bytes_, 64)}));
  OCTAVO_ASSIGN(scratch_, Tensor::create(DType::kU8, Shape{std::max<int64_t>(scratch, 64)}));
  arena_bytes_ += scratch;
  auto* base = static_cast<std::byte*>(arena_.raw());
  for (Slot& slot : slots_) {
    if (slot.kind != Slot::Kind::kArena) continue;
    const int b = slot.buffer < 0 ? -1 : index[static_cast<size_t>(slot.buffer)];
    slot.view.data = b < 0 ? base : base + used[static_cast<size_t>(b)].offset;
  }
  const auto view_of = [&](int slot) {
    return slot < 0 ? TensorView{} : slots_[static_cast<size_t>(slot)].view;
  };
  for (Entry& entry : entries_) {
    for (const int slot : entry.inputs) {
      entry.input_views.push_back(view_of(slot));
      const auto kind = slot < 0 ? Slot::Kind::kArena : slots_[static_cast<size_t>(slot)].kind;
      entry.late_inputs |= kind == Slot::Kind::kInput || kind == Slot::Kind::kDynamic;
    }
    for (const int slot : entry.outputs) entry.output_views.push_back(view_of(slot));
    if (!entry.input_views.empty()) entry.info.dtype = entry.input_views.front().dtype;
  }
  return {};
}

Status PlanImpl::run_dynamic(Entry& entry) {
  const Node& node = *entry.node;
  std::vector<TensorInfo> infos(node.inputs.size());
  std::vector<const TensorInfo*> inputs(node.inputs.size(), nullptr);
  for (size_t i = 0; i < infos.size(); ++i) {
    const TensorView& view = entry.input_views[i];
    if (!view.present()) continue;
    infos[i] = {view.dtype, view.shape, Tensor::borrow(view.dtype, view.shape, view.data, nullptr)};
    if (entry.inputs[i] >= 0) {
      const Slot& slot = slots_[static_cast<size_t>(entry.inputs[i])];
      infos[i].quant = graph_.value(slot.value).quant;
    }
    inputs[i] = &infos[i];
  }
  std::vector<TensorInfo> outputs(node.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const Value& value = graph_.value(node.outputs[i]);
    outputs[i] = {value.dtype, Shape::unknown(), {}, value.quant};
  }
  OCTAVO_TRY(infer_node(node, inputs, outputs));
  OCTAVO_ASSIGN(std::vector<Tensor> results, evaluate(node, entry.input_views, outputs, &runner_));
  for (size_t i = 0; i < results.size(); ++i) {
    if (entry.outputs[i] < 0) continue;
    Slot& slot = slots_[static_cast<size_t>(entry.outputs[i])];
    if (slot.kind == Slot::Kind::kArena) {
      if (!(results[i].shape() == slot.view.shape) || results[i].dtype() != slot.view.dtype) {
        return std::unexpected(
            Error{ErrorCode::kShapeMismatch,
                  concat(op_name(node.kind), " gave ", dtype_name(results[i].dtype()), " ",
                         results[i].shape().to_string(), " where ", dtype_name(slot.view.dtype),
                         " ", slot.view.shape.to_string(), " was inferred"),
                  node.name});
      }
      const auto bytes = results[i].raw_bytes();
      std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(slot.view.data));
      continue;
    }
    slot.held = std::move(results[i]);
    slot.view = slot.held.view(slot.view.quant);
  }
  return {};
}

Status PlanImpl::run_entry(Entry& entry) {
  if (entry.late_inputs) {
    for (size_t i = 0; i < entry.inputs.size(); ++i) {
      if (entry.inputs[i] >= 0) {
        entry.input_views[i] = slots_[static_cast<size_t>(entry.inputs[i])].view;
      }
    }
  }
  switch (entry.kind) {
    case Entry::Kind::kStep:
      return entry.step->run({entry.input_views, entry.output_views,
                              static_cast<std::byte*>(scratch_.raw()), options_.pool});
    case Entry::Kind::kReference: {
      KernelContext context{*entry.node, entry.input_views, entry.output_views, options_.pool,
                            &runner_};
      return run_reference(*entry.op, context);
    }
    case Entry::Kind::kDynamic: return run_dynamic(entry);
    case Entry::Kind::kReorder:
      if (!entry.inputs.empty()) {
        kernels::reorder(entry.input_views[0], entry.output_views[0], options_.pool);
      }
      return {};
  }
  return {};
}

Status PlanImpl::run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
                     Observer* observer) {
  for (size_t i = 0; i < input_slots_.size(); ++i) {
    TensorView& view = slots_[static_cast<size_t>(input_slots_[i])].view;
    view.data = inputs[i].data;
    const ValueId id = graph_.inputs[i];
    if (observer != nullptr && observer->wants(id)) OCTAVO_TRY(observer->on_value(id, view));
  }
  for (const int slot : late_slots_) {
    Slot& late = slots_[static_cast<size_t>(slot)];
    late.view.data = slots_[static_cast<size_t>(late.source)].view.data;
  }
  const bool timed = observer != nullptr && observer->wants_time();
  for (Entry& entry : entries_) {
    const auto start =
        timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    OCTAVO_TRY(run_entry(entry));
    if (timed) {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      observer->on_step(entry.info, seconds.count());
    }
    if (observer == nullptr) continue;
    for (const int slot : entry.observed) {
      const Slot& shown = slots_[static_cast<size_t>(slot)];
      OCTAVO_TRY(observer->on_value(shown.value, shown.view));
    }
  }
  for (size_t i = 0; i < output_slots_.size(); ++i) {
    outputs[i] = slots_[static_cast<size_t>(output_slots_[i])].view;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Plan>> Plan::create(const Graph& graph, std::span<const TensorInfo> inputs,
                                           const PlanOptions& options) {
  auto plan = std::make_unique<PlanImpl>(graph, options);
  OCTAVO_TRY(plan->build(inputs));
  return plan;
}

}  // namespace octavo
