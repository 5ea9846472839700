// The `itex` backend: oneDNN's Graph API, the way Intel's extension for TensorFlow runs a quantized
// graph. All nodes that have a form there are emitted together; each partition that the library
// makes of them is a claim.
#include <omp.h>

#include <algorithm>
#include <set>

#include "native/onednn/graph_emitter.h"
#include "native/onednn/onednn.h"
#include "native/onednn/primitive_step.h"

namespace octavo {
namespace onednn {
namespace {

using dnnl::graph::logical_tensor;

/// For packed weights: without it the library would pack them at each run.
constexpr size_t kConstantCacheMegabytes = 4096;

// Memory for a tensor of the Graph API, as plain bytes of the device.
dnnl::memory byte_memory(const Device& device, size_t bytes) {
  return device.allocate({{static_cast<int64_t>(std::max<size_t>(bytes, 1))},
                          dnnl::memory::data_type::u8,
                          dnnl::memory::format_tag::a});
}

// Compiled partitions in order, and where each tensor's bytes are.
class GraphStep final : public Step {
 public:
  explicit GraphStep(std::shared_ptr<Device> device)
      : device_(std::move(device)), stream_(device_->engine()) {}

  /// False: the library has no implementation of some operator.
  Result<bool> build(GraphEmitter& emitter);
  Status run(const StepContext& context) override;

 private:
  struct Part {
    dnnl::graph::compiled_partition compiled;
    std::vector<dnnl::graph::tensor> inputs, outputs;
  };
  struct Binding {
    size_t part, position;  // among the part's tensors
    bool part_output, is_output;
    size_t index;         // of the step's input or output
    dnnl::memory memory;  // where the device has memory of its own
  };
  void bind(GraphEmitter& emitter, const std::vector<logical_tensor>& ports, bool part_output,
            std::vector<dnnl::graph::tensor>& tensors);

  std::shared_ptr<Device> device_;
  dnnl::stream stream_;
  std::vector<Part> parts_;
  std::vector<Binding> bindings_;
  std::vector<dnnl::memory> memories_;              // of constants and between partitions
  std::map<size_t, size_t> memory_of_;              // by logical tensor id
  std::map<size_t, dnnl::memory> border_memories_;  // by logical tensor id
  std::vector<Tensor> held_;
};

void GraphStep::bind(GraphEmitter& emitter, const std::vector<logical_tensor>& ports,
                     bool part_output, std::vector<dnnl::graph::tensor>& tensors) {
  const bool shared = device_->shares_host_memory();
  for (const logical_tensor& port : ports) {
    const size_t id = port.get_id();
    void* data = nullptr;
    const auto value = static_cast<ValueId>(id);
    const auto constant = emitter.constants().find(id);
    const auto input = std::ranges::find(inputs, value);
    const auto output = std::ranges::find(outputs, value);
    if (constant != emitter.constants().end() && shared) {
      data = const_cast<void*>(constant->second);
    } else if (constant == emitter.constants().end() &&
               (input != inputs.end() || output != outputs.end())) {
      Binding binding{parts_.size(), tensors.size(), part_output, output != outputs.end(), 0, {}};
      binding.index = static_cast<size_t>(binding.is_output ? output - outputs.begin()
                                                            : input - inputs.begin());
      if (!shared) {
        const auto [found, is_new] = border_memories_.try_emplace(id);
        if (is_new) found->second = byte_memory(*device_, port.get_mem_size());
        binding.memory = found->second;
        data = binding.memory.get_data_handle();
      }
      bindings_.push_back(binding);
    } else {
      const auto [found, is_new] = memory_of_.try_emplace(id, memories_.size());
      if (is_new) {
        memories_.push_back(byte_memory(*device_, port.get_mem_size()));
        if (constant != emitter.constants().end()) {
          device_->write(memories_.back(), constant->second, port.get_mem_size());
        }
      }
      data = memories_[found->second].get_data_handle();
    }
    tensors.emplace_back(port, device_->engine(), data);
  }
}

Result<bool> GraphStep::build(GraphEmitter& emitter) {
  inputs = emitter.inputs();
  outputs = emitter.outputs();
  std::vector<dnnl::graph::partition> waiting;
  std::set<size_t> missing;  // tensors that a partition is yet to make
  for (auto& partition : emitter.partitions()) {
    const auto ops = partition.get_ops();
    if (std::ranges::all_of(ops, [&](size_t op) { return emitter.node_of(op) < 0; })) continue;
    if (!partition.is_supported()) return false;
    for (const logical_tensor& port : partition.get_output_ports()) missing.insert(port.get_id());
    waiting.push_back(std::move(partition));
  }
  while (!waiting.empty()) {
    const auto ready = std::ranges::find_if(waiting, [&](const auto& partition) {
      const auto ports = partition.get_input_ports();
      return std::ranges::none_of(
          ports, [&](const logical_tensor& port) { return missing.contains(port.get_id()); });
    });
    if (ready == waiting.end()) return fail(ErrorCode::kInternal, "partitions wait in a circle");
    const auto from = ready->get_input_ports(), to = ready->get_output_ports();
    Part part{ready->compile(from, to, device_->engine()), {}, {}};
    bind(emitter, from, false, part.inputs);
    bind(emitter, to, true, part.outputs);
    for (const logical_tensor& port : to) missing.erase(port.get_id());
    parts_.push_back(std::move(part));
    waiting.erase(ready);
  }
  held_ = emitter.take_held();
  kernel = concat("graph of ", parts_.size());
  return true;
}

Status GraphStep::run(const StepContext& context) {
  try {
    const bool shared = device_->shares_host_memory();
    for (const Binding& b : bindings_) {
      const TensorView& view = b.is_output ? context.outputs[b.index] : context.inputs[b.index];
      if (shared) {
        auto& tensors = b.part_output ? parts_[b.part].outputs : parts_[b.part].inputs;
        tensors[b.position].set_data_handle(view.data);
      } else if (!b.is_output) {
        device_->write(b.memory, view.data, static_cast<size_t>(view.bytes()));
      }
    }
    omp_set_num_threads(context.pool == nullptr ? 1 : context.pool->thread_count());
    for (Part& part : parts_) part.compiled.execute(stream_, part.inputs, part.outputs);
    stream_.wait();
    for (const Binding& b : bindings_) {
      if (shared || !b.is_output || !b.part_output) continue;
      const TensorView& view = context.outputs[b.index];
      device_->read(b.memory, view.data, static_cast<size_t>(view.bytes()));
    }
  } catch (const dnnl::error& e) {
    return fail(ErrorCode::kInternal, "oneDNN Graph: ", e.what());
  }
  return {};
}

// Sets of nodes: those of one partition, and of partitions that share a node.
class Groups {
 public:
  explicit Groups(size_t nodes) : parent_(nodes, -1) {}
  bool contains(size_t n) const { return parent_[n] >= 0; }
  int root(int n) {
    if (parent_[static_cast<size_t>(n)] < 0) parent_[static_cast<size_t>(n)] = n;
    while (parent_[static_cast<size_t>(n)] != n) n = parent_[static_cast<size_t>(n)];
    return n;
  }
  void join(int a, int b) {
    const int ra = root(a), rb = root(b);
    parent_[static_cast<size_t>(std::max(ra, rb))] = std::min(ra, rb);
  }

 private:
  std::vector<int> parent_;
};

class GraphBackend final : public Backend {
 public:
  explicit GraphBackend(std::shared_ptr<Device> device)
      : device_(device == nullptr ? cpu_device() : std::move(device)) {
    dnnl::graph::set_constant_tensor_cache_capacity(device_->engine().get_kind(),
                                                    kConstantCacheMegabytes);
  }

  std::string_view name() const override { return "itex"; }

  std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) override {
    const DeviceScope scope(device_);
    // The Graph API has one order of dimensions: convolutions decide, if there are any.
    const bool any_conv = std::ranges::any_of(
        graph.graph.nodes, [](const Node& node) { return node.kind == OpKind::kConv; });
    const Layout layout = any_conv ? Layout::kChannelsLast : Layout::kPlain;
    std::vector<NodeId> nodes;
    for (size_t n = 0; n < available.size(); ++n) {
      const auto id = static_cast<NodeId>(n);
      // Integers are left to the next backend: their results are not yet those of the others.
      const bool integers = std::ranges::any_of(graph.graph.node(id).inputs, [&](ValueId input) {
        return input != kNoValue && graph.info(input).quant != nullptr;
      });
      if (available[n] && !integers &&
          GraphEmitter::supports(graph, graph.graph.node(id), layout)) {
        nodes.push_back(id);
      }
    }
    auto claims = guarded(Node{}, [&]() -> Result<std::vector<Claim>> {
      return partition_claims(graph, nodes, layout);
    });
    return claims ? *std::move(claims) : std::vector<Claim>();  // none: the next backend's
  }

  ClaimLayout layout(const PlanGraph& graph, const Claim& claim) override {
    const bool conv = std::ranges::any_of(
        claim.nodes, [&](NodeId n) { return graph.graph.node(n).kind == OpKind::kConv; });
    return conv ? ClaimLayout::kChannelsLast : ClaimLayout::kPlain;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    const DeviceScope scope(device_);
    const Node& node = graph.graph.node(claim.nodes.front());
    return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
      GraphEmitter emitter(graph, layout, device_->engine().get_kind());
      OCTAVO_TRY(emitter.emit(claim.nodes));
      auto step = std::make_unique<GraphStep>(device_);
      OCTAVO_ASSIGN(const bool built, step->build(emitter));
      if (!built) return nullptr;
      return step;
    });
  }

 private:
  Result<std::vector<Claim>> partition_claims(const PlanGraph& graph,
                                              const std::vector<NodeId>& nodes, Layout layout) {
    GraphEmitter emitter(graph, layout, device_->engine().get_kind());
    OCTAVO_TRY(emitter.emit(nodes));
    Groups groups(graph.graph.nodes.size());
    for (const auto& partition : emitter.partitions()) {
      if (!partition.is_supported()) continue;
      const auto ops = partition.get_ops();
      NodeId first = -1;
      for (const size_t op : ops) {
        const NodeId node = emitter.node_of(op);
        if (node < 0) continue;
        if (first < 0) first = node;
        groups.join(first, node);
      }
    }
    std::map<int, Claim> claims;
    for (const NodeId n : nodes) {
      if (groups.contains(static_cast<size_t>(n))) claims[groups.root(n)].nodes.push_back(n);
    }
    std::vector<Claim> result;
    for (auto& [root, claim] : claims) {
      // Functions by themselves are faster in the portable backend.
      const auto is_compute = [&](NodeId n) {
        return GraphEmitter::is_compute(graph.graph.node(n));
      };
      if (std::ranges::none_of(claim.nodes, is_compute)) continue;
      if (is_convex(graph, claim)) {
        result.push_back(std::move(claim));
        continue;
      }
      for (const NodeId n : claim.nodes) {
        if (is_compute(n)) result.push_back({{n}});
      }
    }
    return result;
  }

  // Whether nothing outside the claim stands between two of its nodes.
  static bool is_convex(const PlanGraph& graph, const Claim& claim) {
    std::vector<bool> made(graph.graph.values.size(), false), behind = made;
    const auto at = [](ValueId id) { return static_cast<size_t>(id); };
    auto next = claim.nodes.begin();
    for (NodeId n = claim.nodes.front(); n <= claim.nodes.back(); ++n) {
      const Node& node = graph.graph.node(n);
      const bool inside = next != claim.nodes.end() && *next == n;
      if (inside) ++next;
      bool from_claim = false, from_behind = false;
      for (const ValueId id : node.inputs) {
        if (id == kNoValue) continue;
        from_claim |= made[at(id)];
        from_behind |= behind[at(id)];
      }
      if (inside && from_behind) return false;
      for (const ValueId id : node.outputs) {
        if (id == kNoValue) continue;
        made[at(id)] = inside;
        behind[at(id)] = !inside && (from_claim || from_behind);
      }
    }
    return true;
  }

  std::shared_ptr<Device> device_;
};

}  // namespace
}  // namespace onednn

std::shared_ptr<Backend> make_onednn_graph_backend(std::shared_ptr<onednn::Device> device) {
  return std::make_shared<onednn::GraphBackend>(std::move(device));
}

}  // namespace octavo
