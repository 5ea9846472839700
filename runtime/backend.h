// Backends claim sub-graphs of a plan and compile each into one Step. The portable backend (one
// node a claim, Highway kernels, references for the rest) is last and total.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/op.h"

namespace octavo {

class PackingScope;

/// A graph with concrete shapes, as a plan sees it: what backends are given.
struct PlanGraph {
  const Graph& graph;
  std::vector<TensorInfo> infos;    // by ValueId; folded values have `constant`
  std::vector<Layout> layouts;      // by ValueId; settled for a claim's inputs when it is compiled
  std::vector<int> use_counts;      // by ValueId; graph outputs count as a use
  std::vector<bool> is_watched;     // by ValueId; a claim may not hide a watched value
  int threads = 1;                  // that a run uses, or fewer
  PackingScope* packing = nullptr;  // where the claim that is compiled may find weights packed

  const TensorInfo& info(ValueId id) const { return infos[static_cast<size_t>(id)]; }
  bool is_constant(ValueId id) const { return id != kNoValue && info(id).constant.present(); }
  bool is_static(ValueId id) const { return id != kNoValue && info(id).shape.is_static(); }
};

/// In which layout a claim wants its activations (tensors of rank >= 3; the plan converts).
enum class ClaimLayout : uint8_t {
  kPlain,
  kChannelsLast,
  kFollow,  // whatever the first non-constant input has, for inputs and outputs alike
};

/// Nodes that become one step, in topological order. Outputs of the claim are its values that are
/// used outside it (or watched, or graph outputs).
struct Claim {
  std::vector<NodeId> nodes;
  ClaimLayout layout = ClaimLayout::kPlain;
  int rule = -1;  // which of the backend's own made it
};

struct StepContext {
  std::span<const TensorView> inputs;  // in the order of Step::inputs
  std::span<TensorView> outputs;       // in the order of Step::outputs
  std::byte* scratch = nullptr;        // Step::scratch_bytes() bytes, 64-byte aligned
  ThreadPool* pool = nullptr;
};

/// A compiled claim. Holds its packed weights; run() may be called from one thread at a time.
class Step {
 public:
  virtual ~Step() = default;
  virtual Status run(const StepContext& context) = 0;
  virtual int64_t scratch_bytes() const { return 0; }
  /// The input over which output 0 may be written if nothing reads it later and both have as many
  /// bytes; -1: none.
  virtual int in_place_input() const { return -1; }
  /// Where the bytes of an input lie in output 0, of a step that copies them there unchanged.
  struct Piece {
    int64_t offset;        // of the first byte
    int64_t pixel_stride;  // bytes from a pixel (channels-last) to the next; 0: all adjoin
  };
  /// The plan may have input `index` computed there: run() finds it in its place.
  virtual std::optional<Piece> piece(size_t /*index*/) const { return {}; }
  /// Has output 0, channels-last, written with so many bytes from a pixel to the next. False: it
  /// cannot be.
  virtual bool set_pixel_stride(int64_t /*bytes*/) { return false; }

  std::string kernel;            // shown by bench --per-op: "conv_u8s8"; set by compile()
  std::vector<ValueId> inputs;   // non-constant values read; set by compile()
  std::vector<ValueId> outputs;  // values written; set by compile()
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// Disjoint claims over nodes of which `available[node]` is true.
  virtual std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) = 0;
  /// `layout` is settled: never kFollow. nullptr: it cannot after all; the last backend gets the
  /// nodes one by one, and what that one returns nullptr for runs by its reference.
  virtual Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                                Layout layout) = 0;
};

/// The portable backend. `reference_only`: no kernels, the slow obvious functions (for tests).
std::unique_ptr<Backend> make_portable_backend(bool reference_only = false);
/// The portable backend with nothing but what gives the same bits on every machine: floats are
/// summed in one fixed order, without fused multiply-add. (Integer results always are the same.)
/// For SessionOptions::last.
std::unique_ptr<Backend> make_deterministic_backend();

}  // namespace octavo
