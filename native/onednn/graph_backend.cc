// The `itex` backend: oneDNN's Graph API, the way Intel's extension for TensorFlow runs a quantized
// graph. What the library computes together with one convolution or matrix product is a claim.
#include <algorithm>
#include <set>

#include "native/onednn/graph_emitter.h"
#include "native/onednn/onednn.h"
#include "native/onednn/primitive_step.h"
#include "native/onednn/thread_scope.h"
#include "runtime/plan_memory.h"

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

// Compiled partitions in order, and where each tensor's bytes are: of constants, at their place; of
// the step's inputs and outputs, wherever the run has them; of values between partitions, in the
// run's scratch memory. A device with memory of its own has them all there.
class GraphStep final : public Step {
 public:
  explicit GraphStep(std::shared_ptr<Device> device)
      : device_(std::move(device)), made_for_(omp_get_max_threads()), stream_(device_->engine()) {}

  /// False: the library has no implementation of some operator.
  Result<bool> build(GraphEmitter& emitter);
  Status run(const StepContext& context) override;
  int64_t scratch_bytes() const override { return scratch_bytes_; }

 private:
  struct Part {
    dnnl::graph::compiled_partition compiled;
    std::vector<dnnl::graph::tensor> inputs, outputs;
    // What the library is given; its C++ interface would make these lists at each run.
    std::vector<const_dnnl_graph_tensor_t> input_handles, output_handles;
  };
  enum class Place { kInput, kOutput, kScratch };
  struct Binding {
    size_t part, position;  // among the part's tensors
    bool part_output;
    Place place;
    size_t index;         // of the step's input or output, of the scratch buffer
    dnnl::memory memory;  // where the device has memory of its own
  };
  void bind(GraphEmitter& emitter, const std::vector<logical_tensor>& ports, bool part_output,
            std::vector<dnnl::graph::tensor>& tensors);
  void bind_value(ValueId value, size_t bytes, Binding& binding);

  std::shared_ptr<Device> device_;
  int made_for_;  // threads
  dnnl::stream stream_;
  std::vector<Part> parts_;
  std::vector<Binding> bindings_;
  std::vector<ArenaBuffer> buffers_;        // between partitions
  std::map<ValueId, size_t> buffer_of_;     // among buffers_
  std::map<ValueId, dnnl::memory> memory_;  // where the device has memory of its own
  std::vector<dnnl::memory> constants_;     // likewise
  std::vector<Tensor> held_;
  int64_t scratch_bytes_ = 0;
};

void GraphStep::bind_value(ValueId value, size_t bytes, Binding& binding) {
  const auto input = std::ranges::find(inputs, value);
  const auto output = std::ranges::find(outputs, value);
  if (input != inputs.end()) {
    binding.place = Place::kInput;
    binding.index = static_cast<size_t>(input - inputs.begin());
  } else if (output != outputs.end()) {
    binding.place = Place::kOutput;
    binding.index = static_cast<size_t>(output - outputs.begin());
  } else {
    const auto part = static_cast<int>(binding.part);
    const auto [found, is_new] = buffer_of_.try_emplace(value, buffers_.size());
    if (is_new) buffers_.push_back({static_cast<int64_t>(bytes), part, part});
    buffers_[found->second].last = part;
    binding.place = Place::kScratch;
    binding.index = found->second;
  }
  if (device_->shares_host_memory()) return;
  const auto [found, is_new] = memory_.try_emplace(value);
  if (is_new) found->second = byte_memory(*device_, bytes);
  binding.memory = found->second;
}

void GraphStep::bind(GraphEmitter& emitter, const std::vector<logical_tensor>& ports,
                     bool part_output, std::vector<dnnl::graph::tensor>& tensors) {
  for (const logical_tensor& port : ports) {
    void* data = nullptr;
    const auto constant = emitter.constants().find(port.get_id());
    if (constant == emitter.constants().end()) {
      Binding binding{parts_.size(), tensors.size(), part_output, Place::kInput, 0, {}};
      bind_value(emitter.value_of(port.get_id()), port.get_mem_size(), binding);
      if (binding.memory) data = binding.memory.get_data_handle();
      bindings_.push_back(std::move(binding));
    } else if (device_->shares_host_memory()) {
      data = const_cast<void*>(constant->second);
    } else {
      constants_.push_back(byte_memory(*device_, port.get_mem_size()));
      device_->write(constants_.back(), constant->second, port.get_mem_size());
      data = constants_.back().get_data_handle();
    }
    tensors.emplace_back(port, device_->engine(), data);
  }
}

Result<bool> GraphStep::build(GraphEmitter& emitter) {
  inputs = emitter.inputs();
  outputs = emitter.outputs();
  std::vector<dnnl::graph::partition> waiting;
  std::set<ValueId> missing;  // values that a partition is yet to make
  for (auto& partition : emitter.partitions()) {
    const auto ops = partition.get_ops();
    if (std::ranges::all_of(ops, [&](size_t op) { return emitter.node_of(op) < 0; })) continue;
    if (!partition.is_supported()) return false;
    for (const logical_tensor& port : partition.get_output_ports()) {
      missing.insert(emitter.value_of(port.get_id()));
    }
    waiting.push_back(std::move(partition));
  }
  while (!waiting.empty()) {
    const auto ready = std::ranges::find_if(waiting, [&](const auto& partition) {
      return std::ranges::none_of(partition.get_input_ports(), [&](const logical_tensor& port) {
        const ValueId value = emitter.value_of(port.get_id());
        return value != kNoValue && missing.contains(value);
      });
    });
    if (ready == waiting.end()) return fail(ErrorCode::kInternal, "partitions wait in a circle");
    const auto from = ready->get_input_ports(), to = ready->get_output_ports();
    Part part{.compiled = ready->compile(from, to, device_->engine())};
    bind(emitter, from, false, part.inputs);
    bind(emitter, to, true, part.outputs);
    for (const auto& tensor : part.inputs) part.input_handles.push_back(tensor.get());
    for (const auto& tensor : part.outputs) part.output_handles.push_back(tensor.get());
    for (const logical_tensor& port : to) missing.erase(emitter.value_of(port.get_id()));
    parts_.push_back(std::move(part));
    waiting.erase(ready);
  }
  if (device_->shares_host_memory()) scratch_bytes_ = pack_arena(buffers_);
  held_ = emitter.take_held();
  kernel = concat("graph of ", parts_.size());
  return true;
}

Status GraphStep::run(const StepContext& context) {
  try {
    const bool shared = device_->shares_host_memory();
    for (const Binding& b : bindings_) {
      if (shared) {
        auto& tensors = b.part_output ? parts_[b.part].outputs : parts_[b.part].inputs;
        tensors[b.position].set_data_handle(b.place == Place::kInput ? context.inputs[b.index].data
                                            : b.place == Place::kOutput
                                                ? context.outputs[b.index].data
                                                : context.scratch + buffers_[b.index].offset);
      } else if (b.place == Place::kInput) {
        const TensorView& view = context.inputs[b.index];
        device_->write(b.memory, view.data, static_cast<size_t>(view.bytes()));
      }
    }
    const ThreadScope threads(made_for_,
                              context.pool == nullptr ? 1 : context.pool->thread_count());
    for (Part& part : parts_) {
      dnnl::error::wrap_c_api(
          dnnl_graph_compiled_partition_execute(
              part.compiled.get(), stream_.get(), part.input_handles.size(),
              part.input_handles.data(), part.output_handles.size(), part.output_handles.data()),
          "could not execute a compiled partition");
    }
    stream_.wait();
    for (const Binding& b : bindings_) {
      if (shared || b.place != Place::kOutput || !b.part_output) continue;
      const TensorView& view = context.outputs[b.index];
      device_->read(b.memory, view.data, static_cast<size_t>(view.bytes()));
    }
  } catch (const dnnl::error& e) {
    return fail(ErrorCode::kInternal, "oneDNN Graph: ", e.what());
  }
  return {};
}

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
      if (available[n] && GraphEmitter::supports(graph, graph.graph.node(id), layout)) {
        nodes.push_back(id);
      }
    }
    std::vector<Claim> claims;
    for (const std::vector<NodeId>& chunk : chunks(graph, nodes)) {
      auto claim = guarded(Node{}, [&] { return claim_of(graph, chunk, layout); });
      // Without one the nodes are the next backend's.
      if (claim && !claim->nodes.empty()) claims.push_back(*std::move(claim));
    }
    return claims;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    const DeviceScope scope(device_);
    const ThreadScope threads(graph.threads);
    const Node& node = graph.graph.node(claim.nodes.front());
    const auto attempt = [&](bool apart) {
      return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
        GraphEmitter emitter(graph, layout, device_->engine().get_kind());
        OCTAVO_TRY(emitter.emit(claim.nodes, apart));
        auto step = std::make_unique<GraphStep>(device_);
        OCTAVO_ASSIGN(const bool built, step->build(emitter));
        if (!built) return nullptr;
        return step;
      });
    };
    // Of some pairs that oneDNN 3.7 fuses, such as a 1x1 and a depthwise convolution with padding,
    // it then cannot infer the shapes.
    auto step = attempt(false);
    if (step && *step != nullptr) return step;
    step = attempt(true);
    if (!step && step.error().code == ErrorCode::kUnavailable) return nullptr;
    return step;
  }

 private:
  // A convolution or product and the nodes that depend on it and on no later one: all that the
  // library could compute with it. It looks for partitions in a whole graph in a time that grows
  // faster than the graph. What lies between two nodes of a chunk is in it.
  static std::vector<std::vector<NodeId>> chunks(const PlanGraph& graph,
                                                 const std::vector<NodeId>& nodes) {
    std::vector<int> producer(graph.graph.values.size(), -1);
    std::vector<int> chunk_of(graph.graph.nodes.size(), -1);  // by the node that begins it
    std::map<int, std::vector<NodeId>> chunks;
    for (size_t n = 0; n < chunk_of.size(); ++n) {
      const Node& node = graph.graph.nodes[n];
      const bool emitted = std::ranges::binary_search(nodes, static_cast<NodeId>(n));
      int& chunk = chunk_of[n];
      for (const ValueId id : node.inputs) {
        const int from = id == kNoValue ? -1 : producer[static_cast<size_t>(id)];
        if (from >= 0) chunk = std::max(chunk, chunk_of[static_cast<size_t>(from)]);
      }
      if (!emitted || GraphEmitter::is_compute(node) || chunk < 0) chunk = static_cast<int>(n);
      if (emitted) chunks[chunk].push_back(static_cast<NodeId>(n));
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) producer[static_cast<size_t>(id)] = static_cast<int>(n);
      }
    }
    std::vector<std::vector<NodeId>> result;
    for (auto& [first, chunk] : chunks) {
      if (GraphEmitter::is_compute(graph.graph.node(first))) result.push_back(std::move(chunk));
    }
    return result;
  }

  // What the library computes together with the chunk's first node. Functions by themselves are
  // faster in the portable backend.
  Result<Claim> claim_of(const PlanGraph& graph, const std::vector<NodeId>& chunk, Layout layout) {
    GraphEmitter emitter(graph, layout, device_->engine().get_kind());
    OCTAVO_TRY(emitter.emit(chunk));
    std::set<NodeId> together;
    bool whole = true;
    for (const auto& partition : emitter.partitions()) {
      std::set<NodeId> nodes;
      for (const size_t op : partition.get_ops()) {
        if (emitter.node_of(op) >= 0) nodes.insert(emitter.node_of(op));
      }
      if (!nodes.contains(chunk.front())) continue;
      whole &= partition.is_supported();
      together.merge(nodes);
    }
    if (!whole) return Claim{};
    const bool conv = std::ranges::any_of(
        together, [&](NodeId n) { return graph.graph.node(n).kind == OpKind::kConv; });
    return Claim{{together.begin(), together.end()},
                 conv ? ClaimLayout::kChannelsLast : ClaimLayout::kPlain};
  }

  std::shared_ptr<Device> device_;
};

}  // namespace
}  // namespace onednn

std::shared_ptr<Backend> make_onednn_graph_backend(std::shared_ptr<onednn::Device> device) {
  return std::make_shared<onednn::GraphBackend>(std::move(device));
}

}  // namespace octavo
