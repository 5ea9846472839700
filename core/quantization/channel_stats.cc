#include "core/quantization/channel_stats.h"

#include <algorithm>

#include "runtime/kernels/histogram.h"

namespace octavo {
namespace {

// Axis of the channels of a node's data input; -1 if it is not watched.
int channel_axis(const Graph& graph, const Node& node) {
  const int rank = graph.value(node.inputs[0]).shape.rank();
  if (node.kind == OpKind::kConv) return rank >= 3 ? 1 : -1;
  if (node.kind == OpKind::kGemm) return rank == 2 && node.get_int("transA") == 0 ? 1 : -1;
  return -1;
}

std::vector<ChannelInput> layer_inputs(const Graph& graph, const Annotation& annotation) {
  std::vector<ChannelInput> inputs;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!annotation.nodes[n].quantized) continue;
    const int axis = channel_axis(graph, graph.nodes[n]);
    if (axis < 0) continue;
    ChannelInput& input = inputs.emplace_back(ChannelInput{graph.nodes[n].inputs[0], axis});
    const NodeId producer = annotation.producers[static_cast<size_t>(input.value)];
    if (producer < 0) continue;
    const Node& made_by = graph.node(producer);
    const auto params = made_by.get_floats("activation_params");
    if (made_by.get_string("activation") == "Clip" && params.size() == 2) input.bound = params[1];
  }
  return inputs;
}

std::vector<double> divided(std::vector<double> sums, int64_t count) {
  for (double& sum : sums) sum /= static_cast<double>(count);
  return sums;
}

}  // namespace

ChannelStats::ChannelStats(const Graph& graph, std::span<const ChannelInput> watched)
    : sums_(graph.values.size()) {
  for (const auto& [value, axis, bound] : watched) {
    sums_[static_cast<size_t>(value)].axis = axis;
    sums_[static_cast<size_t>(value)].bound = bound;
  }
}

ChannelStats::ChannelStats(const Graph& graph, const Annotation& annotation)
    : ChannelStats(graph, layer_inputs(graph, annotation)) {}

bool ChannelStats::any() const {
  return std::ranges::any_of(sums_, [](const Sums& sums) { return sums.axis >= 0; });
}

bool ChannelStats::wants(ValueId value) const {
  const auto v = static_cast<size_t>(value);
  return v < sums_.size() && sums_[v].axis >= 0;
}

Status ChannelStats::on_value(ValueId value, const TensorView& tensor) {
  Sums& sums = sums_[static_cast<size_t>(value)];
  if (tensor.dtype != DType::kF32 || tensor.shape.rank() <= sums.axis) return {};
  const Shape stored = physical_shape(tensor.shape, tensor.layout);
  const int axis = physical_axis(sums.axis, stored.rank(), tensor.layout);
  const auto channels = static_cast<size_t>(stored[axis]);
  const auto inner = static_cast<size_t>(stored.elements(axis + 1, stored.rank()));
  if (channels == 0 || inner == 0 || tensor.elements() == 0) return {};
  const auto data = tensor.span<const float>();
  if (sums.count == 0) {
    sums.sum.assign(channels, 0);
    sums.squares.assign(channels, 0);
    sums.reaching.assign(channels, 0);
    sums.ranges.resize(channels);
    for (size_t c = 0; c < channels; ++c) sums.ranges[c] = {data[c * inner], data[c * inner]};
  } else if (sums.sum.size() != channels) {
    return fail(ErrorCode::kShapeMismatch, "the number of channels changes from ", sums.sum.size(),
                " to ", channels);
  }
  if (inner == 1) {
    const size_t rows = data.size() / channels;
    std::vector<float> low(channels), high(channels);
    for (size_t c = 0; c < channels; ++c) {
      low[c] = sums.ranges[c].min;
      high[c] = sums.ranges[c].max;
    }
    kernels::widen_columns(data.data(), rows, channels, low.data(), high.data());
    kernels::sum_columns(data.data(), rows, channels, sums.bound, sums.sum.data(),
                         sums.squares.data(), sums.reaching.data());
    for (size_t c = 0; c < channels; ++c) sums.ranges[c] = {low[c], high[c]};
  } else {
    for (size_t run = 0; run < data.size() / inner; ++run)
      add_run(run % channels, data.subspan(run * inner, inner), sums);
  }
  sums.count += static_cast<int64_t>(data.size() / channels);
  return {};
}

void ChannelStats::add_run(size_t channel, std::span<const float> run, Sums& sums) {
  double sum = 0, squares = 0, reaching = 0;
  Range range = sums.ranges[channel];
  for (const float x : run) {
    sum += x;
    squares += static_cast<double>(x) * x;
    reaching += x >= sums.bound ? 1 : 0;
    range = {x < range.min ? x : range.min, x > range.max ? x : range.max};
  }
  sums.sum[channel] += sum;
  sums.squares[channel] += squares;
  sums.reaching[channel] += reaching;
  sums.ranges[channel] = range;
}

void ChannelStats::scale(ValueId value, std::span<const float> factors) {
  Sums& sums = sums_[static_cast<size_t>(value)];
  if (sums.sum.size() != factors.size()) return;
  for (size_t c = 0; c < factors.size(); ++c) {
    sums.sum[c] *= factors[c];
    sums.squares[c] *= static_cast<double>(factors[c]) * factors[c];
    sums.ranges[c] = {sums.ranges[c].min * factors[c], sums.ranges[c].max * factors[c]};
  }
}

void ChannelStats::shift(ValueId value, std::span<const float> constants) {
  Sums& sums = sums_[static_cast<size_t>(value)];
  if (sums.sum.size() != constants.size()) return;
  const auto count = static_cast<double>(sums.count);
  for (size_t c = 0; c < constants.size(); ++c) {
    const double by = constants[c];
    sums.squares[c] += by * by * count - 2 * by * sums.sum[c];
    sums.sum[c] -= by * count;
    sums.ranges[c] = {sums.ranges[c].min - constants[c], sums.ranges[c].max - constants[c]};
  }
}

std::vector<double> ChannelStats::mean(ValueId value) const {
  const Sums& sums = sums_[static_cast<size_t>(value)];
  return divided(sums.sum, sums.count);
}
std::vector<double> ChannelStats::energy(ValueId value) const {
  const Sums& sums = sums_[static_cast<size_t>(value)];
  return divided(sums.squares, sums.count);
}
std::vector<double> ChannelStats::cut_off(ValueId value) const {
  const Sums& sums = sums_[static_cast<size_t>(value)];
  return divided(sums.reaching, sums.count);
}
std::span<const Range> ChannelStats::ranges(ValueId value) const {
  return sums_[static_cast<size_t>(value)].ranges;
}

bool ChannelStats::serves(const ChannelStats& wanted) const {
  for (size_t v = 0; v < wanted.sums_.size(); ++v) {
    if (wanted.sums_[v].axis >= 0 && sums_[v].axis != wanted.sums_[v].axis) return false;
  }
  return true;
}

void ChannelStats::write(ByteWriter& out) const {
  for (const Sums& sums : sums_) {
    out.add_signed(sums.axis);
    if (sums.axis < 0) continue;
    out.add(sums.bound);
    out.add_signed(sums.count);
    out.add(uint64_t{sums.sum.size()});
    for (size_t c = 0; c < sums.sum.size(); ++c) {
      out.add(sums.sum[c]);
      out.add(sums.squares[c]);
      out.add(sums.reaching[c]);
      out.add(sums.ranges[c].min);
      out.add(sums.ranges[c].max);
    }
  }
}

ChannelStats ChannelStats::read(const Graph& graph, ByteReader& in) {
  ChannelStats made(graph, std::span<const ChannelInput>());
  for (Sums& sums : made.sums_) {
    sums.axis = static_cast<int>(in.signed_number());
    if (sums.axis < 0) continue;
    sums.bound = in.f32();
    sums.count = in.signed_number();
    const size_t channels = in.count();
    for (size_t c = 0; c < channels; ++c) {
      sums.sum.push_back(in.f64());
      sums.squares.push_back(in.f64());
      sums.reaching.push_back(in.f64());
      const float min = in.f32();
      sums.ranges.push_back({min, in.f32()});
    }
  }
  return made;
}

}  // namespace octavo
