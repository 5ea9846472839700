#include "runtime/plan.h"

#include <algorithm>
#include <chrono>

#include "runtime/infer.h"
#include "runtime/kernels/reorder.h"
#include "runtime/limits.h"
#include "runtime/plan_impl.h"

namespace octavo {

Status PlanImpl::place_memory() {
  place_pieces();
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
    if (from.last != s || from.bytes != to.bytes || from.bytes != in.view.bytes()) continue;
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
    slot.view.data = b < 0 ? base : base + used[static_cast<size_t>(b)].offset + slot.offset;
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
  // What bodies give is known when they have run; inferring them takes as long as short ones run.
  if ((find_op(node.kind)->flags & kHasBody) == 0) OCTAVO_TRY(infer_node(node, inputs, outputs));
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

Result<std::unique_ptr<Plan>> Plan::create(const Graph& graph, std::span<const TensorInfo> inputs,
                                           const PlanOptions& options) {
  auto plan = std::make_unique<PlanImpl>(graph, options);
  OCTAVO_TRY(plan->build(inputs));
  return plan;
}

}  // namespace octavo
