#include "core/diagnosis/channel_scale.h"

#include <algorithm>
#include <optional>

#include "core/diagnosis/compare.h"
#include "core/quantization/channel_groups.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

constexpr std::string_view kSuffix = kEqualizedSuffix;

using ScaledTensors = std::map<std::string, ScaledTensor>;

const std::vector<float>* factors_of(const ScaledTensors& scaled, const std::string& name) {
  const auto found = scaled.find(name);
  return found == scaled.end() ? nullptr : &found->second.factors;
}

}  // namespace

Result<Tensor> scale_channels(const Tensor& tensor, const std::vector<float>& factors) {
  const Shape& shape = tensor.shape();
  if (shape.rank() < 2 || shape[1] != static_cast<int64_t>(factors.size())) return tensor;
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, shape));
  const auto in = tensor.data<const float>();
  const auto to = out.data<float>();
  const auto inner = static_cast<size_t>(shape.elements(2, shape.rank()));
  for (size_t i = 0; i < in.size(); ++i) to[i] = in[i] * factors[i / inner % factors.size()];
  return out;
}

std::optional<WeightPair> weight_pair(const Graph& reference, const Graph& graph, const Node& node,
                                      const ScaledTensors& scaled) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr || op->quant.weight_input < 0 || node.name.empty()) return std::nullopt;
  const auto slot = static_cast<size_t>(op->quant.weight_input);
  const auto same = std::ranges::find(reference.nodes, node.name, &Node::name);
  if (same == reference.nodes.end() || same->kind != node.kind) return std::nullopt;
  const ValueId a = same->input(slot), b = node.input(slot);
  if (a == kNoValue || b == kNoValue) return std::nullopt;
  const Value &before = reference.value(a), &after = graph.value(b);
  if (!before.constant.present() || !after.constant.present() || after.quant == nullptr ||
      before.dtype != DType::kF32 || before.shape != after.shape) {
    return std::nullopt;
  }
  auto real = real_tensor(after.constant.view(after.quant.get()));
  if (!real) return std::nullopt;
  WeightPair pair{.reference = before.constant, .quantized = *std::move(real)};
  const std::vector<float>* of_input = factors_of(scaled, graph.value(node.inputs[0]).name);
  if (of_input == nullptr || before.shape.rank() < 2) return pair;
  // Weights [out, in / groups, ...] are divided by their input channel's factor.
  const auto out_channels = static_cast<size_t>(before.shape[0]);
  const auto per_group = static_cast<size_t>(before.shape[1]);
  const size_t groups = of_input->size() / std::max<size_t>(per_group, 1);
  if (groups * per_group != of_input->size() || out_channels % std::max<size_t>(groups, 1) != 0) {
    return std::nullopt;
  }
  auto copy = Tensor::create(DType::kF32, before.shape);
  if (!copy) return std::nullopt;
  const auto inner = static_cast<size_t>(before.shape.elements(2, before.shape.rank()));
  const auto from = before.constant.data<const float>();
  const auto to = copy->data<float>();
  const auto rounded = pair.quantized.data<float>();
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t out = i / inner / per_group, in = i / inner % per_group;
    const float factor = (*of_input)[out / (out_channels / groups) * per_group + in];
    if (factor == 0) rounded[i] = 0;  // what meets a dead channel does not count
    to[i] = factor == 0 ? 0 : from[i] / factor;
  }
  pair.reference = *std::move(copy);
  return pair;
}

ScaledTensors scaled_tensors(const Graph& reference, const Graph& graph) {
  ScaledTensors scaled;
  for (const Node& node : graph.nodes) {
    const ValueId output = node.output(0);
    if (output == kNoValue) continue;
    const std::string& name = graph.value(output).name;
    const bool converts = is_conversion(node);
    if (!name.contains(kSuffix) && !converts) continue;
    const std::string source = name.substr(0, name.find(kSuffix));
    if (reference.find_value(source) == kNoValue) continue;
    if (node.kind != OpKind::kConv) {  // Add, Relu, conversions: as their inputs
      for (const ValueId id : node.inputs) {
        const auto* factors = id == kNoValue ? nullptr : factors_of(scaled, graph.value(id).name);
        if (factors == nullptr) continue;
        scaled[name] = {source, *factors, name.contains(kAbsorbedSuffix)};
        break;
      }
      continue;
    }
    const auto pair = weight_pair(reference, graph, node, scaled);
    if (!pair) continue;
    const auto a = pair->reference.data<const float>(), b = pair->quantized.data<const float>();
    const auto channels = static_cast<size_t>(pair->reference.shape()[0]);
    const size_t length = a.size() / std::max<size_t>(channels, 1);
    std::vector<float> factors(channels, 0);  // 0: of a dead channel
    for (size_t c = 0; c < channels; ++c) {   // least squares
      double ab = 0, aa = 0;
      for (size_t i = c * length; i < (c + 1) * length; ++i) {
        ab += static_cast<double>(a[i]) * b[i];
        aa += static_cast<double>(a[i]) * a[i];
      }
      if (aa > 0 && ab > 0) factors[c] = static_cast<float>(ab / aa);
    }
    scaled[name] = {source, std::move(factors), name.contains(kAbsorbedSuffix)};
  }
  return scaled;
}

std::vector<std::string> float_names(const Graph& reference, const Graph& graph,
                                     const std::map<std::string, ScaledTensor>& scaled) {
  std::vector<std::string> names(graph.values.size());
  std::map<std::string, bool> known;
  for (const Value& value : reference.values) {
    known[value.name] = value.dtype == DType::kF32 && !value.constant.present();
  }
  const auto is_known = [&](const std::string& name) {
    const auto found = known.find(name);
    return found != known.end() && found->second;
  };
  for (size_t v = 0; v < names.size(); ++v) {
    const std::string& name = graph.values[v].name;
    const auto found = scaled.find(name);
    if (is_known(name) || (found != scaled.end() && !found->second.shifted)) names[v] = name;
  }
  for (const Node& node : graph.nodes) {
    if (!is_conversion(node) || node.inputs.size() != 1) continue;
    std::string& from = names[static_cast<size_t>(node.inputs[0])];
    std::string& to = names[static_cast<size_t>(node.outputs[0])];
    if (to.empty()) to = from;
    if (from.empty()) from = to;
  }
  return names;
}

}  // namespace octavo
