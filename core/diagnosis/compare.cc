#include "core/diagnosis/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/calibration/calibrate.h"
#include "core/diagnosis/distribution.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

constexpr int kDistributionBins = 128;

// What is gathered of one tensor.
struct TensorSums {
  ErrorSums errors;
  PairHistogram histogram;
  bool seen = false;

  void add(std::span<const float> a, std::span<const float> b) {
    seen = true;
    errors.add(a, b);
    histogram.add_a(a);
    histogram.add_b(b);
  }

  TensorComparison result(std::string tensor, std::string op) const {
    TensorComparison out{.tensor = std::move(tensor), .node_op = std::move(op)};
    out.sqnr_db = errors.sqnr_db();
    out.cosine = errors.cosine();
    out.mse = errors.mse();
    out.max_abs_error = errors.max_error;
    out.distribution = histogram.distribution(kDistributionBins);
    out.kl = kl_divergence(out.distribution);
    return out;
  }
};

bool has_real_numbers(const Value& value) {
  return value.dtype == DType::kF32 || value.quant != nullptr;
}

// Shows chosen values of one model, as real numbers, under their names.
class RealObserver : public Observer {
 public:
  using Sink = std::function<Status(const std::string& name, Tensor tensor)>;

  RealObserver(const Graph& graph, const std::map<std::string, TensorSums>& chosen, Sink sink)
      : graph_(graph), sink_(std::move(sink)), wanted_(graph.values.size(), false) {
    for (size_t v = 0; v < wanted_.size(); ++v) wanted_[v] = chosen.contains(graph.values[v].name);
  }
  bool wants(ValueId value) const override { return wanted_[static_cast<size_t>(value)]; }
  Status on_value(ValueId value, const TensorView& tensor) override {
    OCTAVO_ASSIGN(Tensor real, real_tensor(tensor));
    return sink_(graph_.value(value).name, std::move(real));
  }

 private:
  const Graph& graph_;
  Sink sink_;
  std::vector<bool> wanted_;
};

// Names of computed values with real numbers, that are no outputs.
std::map<std::string, TensorSums> computed_values(const Graph& graph) {
  std::map<std::string, TensorSums> names;
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || std::ranges::count(graph.outputs, id) > 0) continue;
      if (has_real_numbers(graph.value(id))) names[graph.value(id).name];
    }
  }
  return names;
}

size_t argmax(std::span<const float> row) {
  return static_cast<size_t>(std::ranges::max_element(row) - row.begin());
}

std::string producer_op(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id != kNoValue && graph.value(id).name == name) return std::string(op_name(node.kind));
    }
  }
  return "";
}

}  // namespace

static std::optional<std::pair<int64_t, int64_t>> integer_bounds(DType dtype) {
  switch (dtype) {
    case DType::kI4: return std::pair{-8, 7};
    case DType::kU4: return std::pair{0, 15};
    case DType::kI8: return std::pair{-128, 127};
    case DType::kU8: return std::pair{0, 255};
    case DType::kI16: return std::pair{-32768, 32767};
    case DType::kU16: return std::pair{0, 65535};
    default: return std::nullopt;
  }
}

std::optional<ReachableRange> reachable_range(const Value& value) {
  if (value.quant == nullptr || !value.quant->per_tensor() || value.quant->scale.empty()) {
    return std::nullopt;
  }
  const auto bounds = integer_bounds(value.dtype);
  if (!bounds) return std::nullopt;
  const int64_t zero_point = value.quant->zero_point.empty() ? 0 : value.quant->zero_point[0];
  const double scale = value.quant->scale[0];
  return ReachableRange{.low = scale * static_cast<double>(bounds->first - zero_point),
                        .high = scale * static_cast<double>(bounds->second - zero_point),
                        .scale = scale};
}

Result<Tensor> real_tensor(const TensorView& view) {
  OCTAVO_ASSIGN(Tensor plain, to_tensor(view));
  if (view.quant == nullptr) return plain;
  OCTAVO_ASSIGN(Tensor real, Tensor::create(DType::kF32, view.shape));
  OCTAVO_TRY(dequantize_view(plain.view(view.quant), real.data<float>().data()));
  return real;
}

void ErrorSums::add(std::span<const float> a, std::span<const float> b) {
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i], d = x - y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
    error += d * d;
    max_error = std::max(max_error, std::fabs(d));
  }
  count += static_cast<int64_t>(a.size());
}

double ErrorSums::sqnr_db() const {
  if (error == 0) return kMaxSqnr;
  return aa == 0 ? 0 : std::min(kMaxSqnr, 10 * std::log10(aa / error));
}

double ErrorSums::cosine() const {
  const double norms = std::sqrt(aa) * std::sqrt(bb);
  return norms > 0 ? ab / norms : (aa == bb ? 1 : 0);
}

Result<Comparison> compare_sessions(Session& session_a, Session& session_b,
                                    const std::map<std::string, ScaledTensor>& scaled,
                                    DataLoader& data, const QuantizeOptions& options,
                                    const SampleHook& hook) {
  const std::map<std::string, TensorSums> of_a_graph = computed_values(session_a.graph());
  const std::map<std::string, TensorSums> of_b_graph = computed_values(session_b.graph());
  std::map<std::string, TensorSums> common = of_a_graph;
  std::erase_if(common, [&](const auto& entry) { return !of_b_graph.contains(entry.first); });
  std::map<std::string, TensorSums> shown = hook ? of_a_graph : common;  // of model a
  std::map<std::string, std::string> scaled_names;                       // by their source's name
  for (const auto& [name, tensor] : scaled) {
    if (!of_b_graph.contains(name) || !of_a_graph.contains(tensor.source)) continue;
    common[name];
    shown[tensor.source];
    scaled_names[tensor.source] = name;
  }

  TensorMap sample;  // model a's tensors of the current sample
  RealObserver observer_a(
      session_a.graph(), shown, [&](const std::string& name, Tensor tensor) -> Status {
        if (const auto found = scaled_names.find(name); found != scaled_names.end()) {
          OCTAVO_ASSIGN(sample[found->second],
                        scale_channels(tensor, scaled.at(found->second).factors));
        }
        sample[name] = std::move(tensor);
        return {};
      });
  RealObserver observer_b(
      session_b.graph(), common, [&](const std::string& name, Tensor tensor) -> Status {
        const auto found = sample.find(name);
        if (found == sample.end() || found->second.shape() != tensor.shape()) {
          return {};
        }
        common[name].add(found->second.data<const float>(), tensor.data<const float>());
        return {};
      });

  Comparison result;
  std::vector<TensorSums> outputs(session_a.graph().outputs.size());
  int64_t rows = 0, equal_rows = 0;
  while (true) {
    OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, data.next());
    if (!feeds) break;
    OCTAVO_TRY(check_finite_feeds(*feeds, result.samples));
    sample.clear();
    OCTAVO_ASSIGN(const NamedTensors of_a, session_a.run(*feeds, &observer_a));
    OCTAVO_ASSIGN(const NamedTensors of_b, session_b.run(*feeds, &observer_b));
    if (hook) {
      for (const NamedTensors* named : {&*feeds, &of_a}) {
        for (const auto& [name, tensor] : *named) sample[name] = tensor;
      }
      OCTAVO_TRY(hook(sample));
    }
    for (size_t i = 0; i < of_a.size(); ++i) {
      const auto same =
          std::ranges::find(of_b, of_a[i].first, &std::pair<std::string, Tensor>::first);
      if (same == of_b.end()) continue;
      const Tensor &x = of_a[i].second, &y = same->second;
      if (x.dtype() != DType::kF32 || y.dtype() != DType::kF32 || x.shape() != y.shape()) continue;
      const auto xs = x.data<const float>(), ys = y.data<const float>();
      outputs[i].add(xs, ys);
      if (i > 0 || xs.empty()) continue;
      const size_t count = x.shape().rank() >= 2 ? static_cast<size_t>(x.shape()[0]) : 1;
      const size_t width = xs.size() / count;
      for (size_t r = 0; r < count; ++r) {
        ++rows;
        equal_rows +=
            argmax(xs.subspan(r * width, width)) == argmax(ys.subspan(r * width, width)) ? 1 : 0;
      }
    }
    ++result.samples;
    if (options.progress && !options.progress(result.samples, 0)) {
      return fail(ErrorCode::kCancelled, "the comparison was cancelled after ", result.samples,
                  " samples");
    }
  }
  if (result.samples == 0) {
    return fail(ErrorCode::kInvalidArgument, "the data is empty; at least one sample is needed");
  }
  const Graph& graph = session_a.graph();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].seen) continue;
    const std::string& name = graph.value(graph.outputs[i]).name;
    result.outputs.push_back(outputs[i].result(name, producer_op(graph, name)));
  }
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const auto renamed = scaled_names.find(graph.value(id).name);
      const auto found =
          common.find(renamed == scaled_names.end() ? graph.value(id).name : renamed->second);
      if (found == common.end() || !found->second.seen) continue;
      result.tensors.push_back(found->second.result(found->first, std::string(op_name(node.kind))));
    }
  }
  result.agreement = rows == 0 ? 0 : static_cast<double>(equal_rows) / static_cast<double>(rows);
  return result;
}

Result<Comparison> compare(const Model& a, const Model& b, DataLoader& data,
                           const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Session session_a, a.create_session({.pool = options.pool}));
  OCTAVO_ASSIGN(Session session_b, b.create_session({.pool = options.pool}));
  return compare_sessions(session_a, session_b,
                          scaled_tensors(session_a.graph(), session_b.graph()), data, options, {});
}

}  // namespace octavo
