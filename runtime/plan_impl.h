// The one implementation of Plan: built in plan_units.cc (which backend runs which nodes, in what
// order) and plan_build.cc (steps, layouts, slots), placed in memory and run in plan.cc.
#pragma once

#include <array>

#include "runtime/body_runner.h"
#include "runtime/plan.h"
#include "runtime/plan_memory.h"

namespace octavo {

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
  // One tensor of the plan in one layout: a value, or a value's copy in the other layout.
  struct Slot {
    enum class Kind { kArena, kInput, kConstant, kDynamic };
    Kind kind = Kind::kArena;
    ValueId value = kNoValue;
    TensorView view;     // data is set once the arena exists (kArena), at run (kInput, kDynamic)
    int buffer = -1;     // kArena: which buffer; aliases share one
    int64_t offset = 0;  // kArena: in the buffer
    int source = -1;     // kInput seen in another layout of the same bytes: the slot it shows
    Tensor held = {};    // kConstant: keeps it alive; kDynamic: this run's tensor
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
  Layout settle_layout(const PlanGraph& plan_graph, const Claim& claim) const;
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
  void place_pieces();
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

}  // namespace octavo
