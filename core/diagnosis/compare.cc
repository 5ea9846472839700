#include "core/diagnosis/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/calibration/calibrate.h"
#include "core/diagnosis/distribution.h"
#include "core/diagnosis/names.h"
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

struct Comparer::State {
  State(Session a, Session b, std::map<std::string, ScaledTensor> scaled_tensors,
        SampleHook sample_hook);

  Status show_a(const std::string& name, Tensor tensor);
  Status show_b(const std::string& name, const Tensor& tensor);

  Session session_a, session_b;
  const std::map<std::string, ScaledTensor> scaled;
  const SampleHook hook;
  std::map<std::string, TensorSums> common;         // by b's names
  std::map<std::string, std::string> scaled_names;  // by their source's name
  std::vector<TensorSums> outputs;
  std::optional<RealObserver> observer_a, observer_b;

  TensorMap sample;  // model a's tensors of the current sample
  int64_t samples = 0, rows = 0, equal_rows = 0;
};

Comparer::State::State(Session a, Session b, std::map<std::string, ScaledTensor> scaled_tensors,
                       SampleHook sample_hook)
    : session_a(std::move(a)),
      session_b(std::move(b)),
      scaled(std::move(scaled_tensors)),
      hook(std::move(sample_hook)),
      outputs(session_a.graph().outputs.size()) {
  const std::map<std::string, TensorSums> of_a_graph = computed_values(session_a.graph());
  const std::map<std::string, TensorSums> of_b_graph = computed_values(session_b.graph());
  common = of_a_graph;
  std::erase_if(common, [&](const auto& entry) { return !of_b_graph.contains(entry.first); });
  std::map<std::string, TensorSums> shown = hook ? of_a_graph : common;  // of model a
  for (const auto& [name, tensor] : scaled) {
    if (tensor.shifted || !of_b_graph.contains(name) || !of_a_graph.contains(tensor.source))
      continue;
    common[name];
    shown[tensor.source];
    scaled_names[tensor.source] = name;
  }
  observer_a.emplace(session_a.graph(), shown, std::bind_front(&State::show_a, this));
  observer_b.emplace(session_b.graph(), common, std::bind_front(&State::show_b, this));
}

Status Comparer::State::show_a(const std::string& name, Tensor tensor) {
  if (const auto found = scaled_names.find(name); found != scaled_names.end()) {
    OCTAVO_ASSIGN(sample[found->second], scale_channels(tensor, scaled.at(found->second).factors));
  }
  sample[name] = std::move(tensor);
  return {};
}

Status Comparer::State::show_b(const std::string& name, const Tensor& tensor) {
  const auto found = sample.find(name);
  if (found == sample.end() || found->second.shape() != tensor.shape()) return {};
  common[name].add(found->second.data<const float>(), tensor.data<const float>());
  return {};
}

Comparer::Comparer(Session a, Session b, std::map<std::string, ScaledTensor> scaled,
                   SampleHook hook)
    : state_(std::make_unique<State>(std::move(a), std::move(b), std::move(scaled),
                                     std::move(hook))) {}
Comparer::Comparer(Comparer&&) noexcept = default;
Comparer& Comparer::operator=(Comparer&&) noexcept = default;
Comparer::~Comparer() = default;

Result<Comparer> Comparer::create(const Model& a, const Model& b, const SessionOptions& session) {
  OCTAVO_ASSIGN(Session session_a, a.create_session(session));
  OCTAVO_ASSIGN(Session session_b, with_names_of(a, b).create_session(session));
  auto scaled = scaled_tensors(session_a.graph(), session_b.graph());
  return Comparer(std::move(session_a), std::move(session_b), std::move(scaled));
}

Status Comparer::observe(const NamedTensors& feeds) {
  State& s = *state_;
  OCTAVO_TRY(check_finite_feeds(feeds, s.samples));
  s.sample.clear();
  OCTAVO_ASSIGN(const NamedTensors of_a, s.session_a.run(feeds, &*s.observer_a));
  OCTAVO_ASSIGN(const NamedTensors of_b, s.session_b.run(feeds, &*s.observer_b));
  if (s.hook) {
    for (const NamedTensors* named : {&feeds, &of_a}) {
      for (const auto& [name, tensor] : *named) s.sample[name] = tensor;
    }
    OCTAVO_TRY(s.hook(s.sample));
  }
  for (size_t i = 0; i < of_a.size(); ++i) {
    const auto same =
        std::ranges::find(of_b, of_a[i].first, &std::pair<std::string, Tensor>::first);
    if (same == of_b.end()) continue;
    const Tensor &x = of_a[i].second, &y = same->second;
    if (x.dtype() != DType::kF32 || y.dtype() != DType::kF32 || x.shape() != y.shape()) continue;
    const auto xs = x.data<const float>(), ys = y.data<const float>();
    s.outputs[i].add(xs, ys);
    if (i > 0 || xs.empty()) continue;
    const size_t count = x.shape().rank() >= 2 ? static_cast<size_t>(x.shape()[0]) : 1;
    const size_t width = xs.size() / count;
    for (size_t r = 0; r < count; ++r) {
      ++s.rows;
      s.equal_rows +=
          argmax(xs.subspan(r * width, width)) == argmax(ys.subspan(r * width, width)) ? 1 : 0;
    }
  }
  ++s.samples;
  return {};
}

Result<Comparison> Comparer::finish() const {
  const State& s = *state_;
  if (s.samples == 0) {
    return fail(ErrorCode::kInvalidArgument, "the data is empty; at least one sample is needed");
  }
  Comparison result{.samples = s.samples};
  const Graph& graph = s.session_a.graph();
  for (size_t i = 0; i < s.outputs.size(); ++i) {
    if (!s.outputs[i].seen) continue;
    const std::string& name = graph.value(graph.outputs[i]).name;
    result.outputs.push_back(s.outputs[i].result(name, producer_op(graph, name)));
  }
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const auto renamed = s.scaled_names.find(graph.value(id).name);
      const auto found =
          s.common.find(renamed == s.scaled_names.end() ? graph.value(id).name : renamed->second);
      if (found == s.common.end() || !found->second.seen) continue;
      result.tensors.push_back(found->second.result(found->first, std::string(op_name(node.kind))));
    }
  }
  result.agreement =
      s.rows == 0 ? 0 : static_cast<double>(s.equal_rows) / static_cast<double>(s.rows);
  return result;
}

Status for_each_sample(DataLoader& data, const ProgressFn& progress,
                       const std::function<Status(const NamedTensors&)>& observe) {
  for (int64_t samples = 1;; ++samples) {
    OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, data.next());
    if (!feeds) return {};
    OCTAVO_TRY(observe(*feeds));
    if (progress && !progress(samples, 0)) {
      return fail(ErrorCode::kCancelled, "the comparison was cancelled after ", samples,
                  " samples");
    }
  }
}

Result<Comparison> compare(const Model& a, const Model& b, DataLoader& data,
                           const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Comparer comparer,
                Comparer::create(a, b, {.backends = options.backends, .pool = options.pool}));
  OCTAVO_TRY(for_each_sample(data, options.progress,
                             [&](const NamedTensors& feeds) { return comparer.observe(feeds); }));
  return comparer.finish();
}

}  // namespace octavo
