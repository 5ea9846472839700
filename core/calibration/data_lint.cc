#include "core/calibration/data_lint.h"

#include <algorithm>
#include <cmath>

#include "core/calibration/collector.h"
#include "core/content_hash.h"
#include "runtime/op.h"

namespace octavo {
namespace {

constexpr int64_t kFewSamples = 10;
constexpr size_t kHashes = 4096;  // samples that are compared with each other
// A trained network's first layer makes values of about one (0.2 to 17 in those that were looked
// at) of the inputs it was trained on.
constexpr double kLoud = 32, kQuiet = 0.03;
constexpr double kPixels = 16;  // normalized inputs are below

// The weights that first read a value, perhaps moved about; nullptr if it is scaled before.
const Node* first_layer(const Graph& graph, ValueId value) {
  std::vector<ValueId> seen = {value};
  for (const Node& node : graph.nodes) {
    const OpDef* op = find_op(node.kind);
    const bool reads = std::ranges::any_of(
        node.inputs, [&](ValueId id) { return std::ranges::find(seen, id) != seen.end(); });
    if (op == nullptr || !reads) continue;
    if (op->quant.policy == QuantPolicy::kCompute && op->quant.weight_input >= 0) {
      const ValueId weights = node.input(static_cast<size_t>(op->quant.weight_input));
      return weights != kNoValue && graph.value(weights).constant.present() ? &node : nullptr;
    }
    if (op->quant.policy != QuantPolicy::kSameScale && node.kind != OpKind::kConcat) return nullptr;
    for (const ValueId output : node.outputs) seen.push_back(output);
  }
  return nullptr;
}

// The root mean square, over output channels, of the channels' weight norms: what a layer makes of
// independent inputs of size one.
double gain(const Graph& graph, const Node& node) {
  const OpDef& op = *find_op(node.kind);
  const Tensor& weights =
      graph.value(node.input(static_cast<size_t>(op.quant.weight_input))).constant;
  if (weights.dtype() != DType::kF32 || weights.shape().rank() < 2) return 0;
  const int rank = weights.shape().rank();
  int axis = op.quant.weight_axis;
  if (find_field(op, "transB") != nullptr && node.get_int("transB") == 0) axis = -1 - axis;
  const auto channels = static_cast<double>(weights.shape()[(axis + rank) % rank]);
  double sum = 0;
  for (const float w : weights.data<const float>()) sum += static_cast<double>(w) * w;
  return std::sqrt(sum / std::max(channels, 1.0));
}

// Three digits are enough for people.
std::string rounded(double x) {
  const double unit = std::pow(10, std::floor(std::log10(std::max(std::fabs(x), 1e-9))) - 2);
  return concat(static_cast<float>(std::round(x / unit) * unit));
}

}  // namespace

uint64_t hash_feeds(const NamedTensors& feeds) {
  ContentHash hash;
  for (const auto& [name, tensor] : feeds) {
    hash.add(name);
    hash.add(static_cast<uint64_t>(tensor.dtype()));
    for (const int64_t dim : tensor.shape().dims()) hash.add(static_cast<uint64_t>(dim));
    if (tensor.dtype() == DType::kString) {
      for (const std::string& text : tensor.data<std::string>()) hash.add(text);
    } else {
      hash.add(tensor.raw_bytes());
    }
  }
  return hash.value();
}

DataLint::Input& DataLint::input(const std::string& name) {
  const auto found = std::ranges::find(inputs_, name, &Input::name);
  return found != inputs_.end() ? *found : inputs_.emplace_back(Input{.name = name});
}

void DataLint::observe(const NamedTensors& feeds) {
  ++samples_;
  const uint64_t hash = hash_feeds(feeds);
  if (hashes_.contains(hash)) {
    ++duplicates_;
  } else if (hashes_.size() < kHashes) {
    hashes_.insert(hash);
  }
  for (const auto& [name, tensor] : feeds) {
    if (tensor.dtype() != DType::kF32 || tensor.elements() == 0) continue;
    const auto values = tensor.data<const float>();
    const auto range = finite_range(values);
    if (!range) continue;  // calibration refuses the sample
    Input& to = input(name);
    to.constant += values.size() > 1 && range->min == range->max;
    to.min = samples_ == 1 ? range->min : std::min<double>(to.min, range->min);
    to.max = samples_ == 1 ? range->max : std::max<double>(to.max, range->max);
    double sum = 0;
    for (const float x : values) sum += static_cast<double>(x) * x;
    to.square_sum += sum;
    to.elements += static_cast<double>(values.size());
  }
}

std::vector<std::string> DataLint::warnings(const Graph& graph) const {
  std::vector<std::string> found;
  if (samples_ < kFewSamples) {
    found.push_back(concat("calibration saw ", samples_, samples_ == 1 ? " sample" : " samples",
                           "; ranges need more to be typical, 100 say"));
  }
  if (duplicates_ > 0) {
    found.push_back(concat(duplicates_, " of the ", samples_,
                           " calibration samples occur more than once; they add nothing"));
  }
  for (const Input& in : inputs_) {
    if (in.constant > 0) {
      found.push_back(concat("in ", in.constant, " of the ", samples_, " calibration samples '",
                             in.name, "' has one and the same value everywhere"));
      continue;
    }
    const ValueId value = graph.find_value(in.name);
    const Node* layer = value == kNoValue ? nullptr : first_layer(graph, value);
    if (layer == nullptr || in.elements == 0) continue;
    const double size = gain(graph, *layer) * std::sqrt(in.square_sum / in.elements);
    if (size == 0) continue;
    const std::string seen = concat("calibration data of '", in.name, "' go from ", rounded(in.min),
                                    " to ", rounded(in.max), ", of which the first layer '",
                                    layer->name, "' makes values of about ", rounded(size), "; ");
    if (size > kLoud && in.max > kPixels) {
      found.push_back(seen +
                      "if the model was trained on normalized inputs, they must be "
                      "preprocessed in the same way");
    } else if (size < kQuiet && in.max < kPixels) {
      found.push_back(seen +
                      "if the model was trained on inputs of 0 to 255, these must not be "
                      "normalized");
    }
  }
  return found;
}

}  // namespace octavo
