#include <algorithm>
#include <cmath>
#include <map>

#include "core/calibration/calibrate.h"
#include "core/octavo.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

constexpr double kMaxSqnr = 200;  // dB; what equal tensors get

// Sums over all samples, from which the figures follow.
struct Sums {
  double aa = 0, bb = 0, ab = 0, error = 0, max_error = 0;
  bool seen = false;

  void add(std::span<const float> a, std::span<const float> b) {
    seen = true;
    for (size_t i = 0; i < a.size(); ++i) {
      const double x = a[i], y = b[i], d = x - y;
      aa += x * x;
      bb += y * y;
      ab += x * y;
      error += d * d;
      max_error = std::max(max_error, std::fabs(d));
    }
  }

  TensorComparison result(std::string tensor, std::string op) const {
    TensorComparison out{.tensor = std::move(tensor), .node_op = std::move(op)};
    out.sqnr_db = error == 0 ? kMaxSqnr
                  : aa == 0  ? 0
                             : std::min(kMaxSqnr, 10 * std::log10(aa / error));
    const double norms = std::sqrt(aa) * std::sqrt(bb);
    out.cosine = norms > 0 ? ab / norms : (aa == bb ? 1 : 0);
    out.max_abs_error = max_error;
    return out;
  }
};

bool has_real_numbers(const Value& value) {
  return value.dtype == DType::kF32 || value.quant != nullptr;
}

// The real numbers of a tensor, in plain layout.
Result<Tensor> real_tensor(const TensorView& view) {
  OCTAVO_ASSIGN(Tensor plain, to_tensor(view));
  if (view.quant == nullptr) return plain;
  OCTAVO_ASSIGN(Tensor real, Tensor::create(DType::kF32, view.shape));
  OCTAVO_TRY(dequantize_view(plain.view(view.quant), real.data<float>().data()));
  return real;
}

// Shows chosen values of one model, as real numbers, under their names.
class RealObserver : public Observer {
 public:
  using Sink = std::function<Status(const std::string& name, Tensor tensor)>;

  RealObserver(const Graph& graph, const std::map<std::string, Sums>& chosen, Sink sink)
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
std::map<std::string, Sums> computed_values(const Graph& graph) {
  std::map<std::string, Sums> names;
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

Result<Comparison> compare(const Model& a, const Model& b, DataLoader& data,
                           const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Session session_a, a.create_session({.pool = options.pool}));
  OCTAVO_ASSIGN(Session session_b, b.create_session({.pool = options.pool}));
  std::map<std::string, Sums> common = computed_values(session_a.graph());
  const std::map<std::string, Sums> of_b = computed_values(session_b.graph());
  std::erase_if(common, [&](const auto& entry) { return !of_b.contains(entry.first); });

  std::map<std::string, Tensor> sample;  // model a's tensors of the current sample
  RealObserver observer_a(session_a.graph(), common,
                          [&](const std::string& name, Tensor tensor) -> Status {
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
  std::vector<Sums> outputs(session_a.graph().outputs.size());
  int64_t rows = 0, equal_rows = 0;
  while (true) {
    OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, data.next());
    if (!feeds) break;
    OCTAVO_TRY(check_finite_feeds(*feeds, result.samples));
    sample.clear();
    OCTAVO_ASSIGN(const NamedTensors of_a, session_a.run(*feeds, &observer_a));
    OCTAVO_ASSIGN(const NamedTensors of_b, session_b.run(*feeds, &observer_b));
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
      const auto found = common.find(graph.value(id).name);
      if (found == common.end() || !found->second.seen) continue;
      result.tensors.push_back(found->second.result(found->first, std::string(op_name(node.kind))));
    }
  }
  result.agreement = rows == 0 ? 0 : static_cast<double>(equal_rows) / static_cast<double>(rows);
  return result;
}

}  // namespace octavo
