// How much each operator matters, on the few samples that tuning keeps.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/diagnosis/compare.h"
#include "core/diagnosis/diagnose.h"
#include "core/diagnosis/replay.h"
#include "core/tuning/strategy.h"
#include "runtime/op.h"

namespace octavo {
namespace {

constexpr double kStep = 1e-2;  // of the weights' root mean square
constexpr int kProbes = 2;      // random directions an operator

Status need_samples(const TuningContext& context) {
  if (!context.samples.empty()) return {};
  return fail(ErrorCode::kInvalidArgument,
              "the strategy judges operators on calibration data, but no trial has read any");
}

Result<QuantizedModel> quantize_on_samples(const TuningContext& context, const Recipe& recipe) {
  Replay replay(context.samples);
  return quantize_model(context.model, recipe, &replay,
                        static_cast<int64_t>(context.samples.size()), {}, {.pool = context.pool});
}

/// Outputs of a model on the samples, as one list of numbers.
Result<std::vector<float>> outputs_of(const TuningContext& context, const Model& model) {
  OCTAVO_ASSIGN(Session session, model.create_session({.pool = context.pool}));
  std::vector<float> all;
  for (const NamedTensors& feeds : context.samples) {
    OCTAVO_ASSIGN(const NamedTensors outputs, session.run(feeds));
    for (const auto& [name, tensor] : outputs) {
      if (tensor.dtype() != DType::kF32) continue;
      const auto values = tensor.data<const float>();
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

double mean_squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    sum += d * d;
  }
  return a.empty() ? 0 : sum / static_cast<double>(a.size());
}

}  // namespace

Result<std::vector<double>> output_errors(TuningContext& context, const Recipe& recipe) {
  OCTAVO_TRY(need_samples(context));
  OCTAVO_ASSIGN(const QuantizedModel made, quantize_on_samples(context, recipe));
  Replay replay(context.samples);
  OCTAVO_ASSIGN(const Diagnosis diagnosis,
                diagnose(context.model, made.model, replay, {.pool = context.pool}));
  std::vector<double> errors;
  for (const TunableOp& op : context.ops) {
    const auto found = std::ranges::find(diagnosis.ops, op.name, &OpDiagnosis::node);
    const std::optional<double> db = found == diagnosis.ops.end() ? std::nullopt : found->sqnr_db;
    errors.push_back(db ? std::pow(10, -*db / 10) : 0);
  }
  return errors;
}

Result<std::vector<double>> model_errors(TuningContext& context, const Recipe& recipe,
                                         const std::vector<std::string>& fallen,
                                         const std::string& dtype, bool add) {
  OCTAVO_TRY(need_samples(context));
  OCTAVO_ASSIGN(const std::vector<float> wanted, outputs_of(context, context.model));
  std::vector<double> errors;
  for (const TunableOp& op : context.ops) {
    std::vector<std::string> ops = fallen;
    const auto at = std::ranges::find(ops, op.name);
    if ((at != ops.end()) == add) {
      errors.push_back(std::numeric_limits<double>::quiet_NaN());
      continue;
    }
    if (add) {
      ops.push_back(op.name);
    } else {
      ops.erase(at);
    }
    OCTAVO_ASSIGN(const QuantizedModel made,
                  quantize_on_samples(context, with_fallback(recipe, ops, dtype)));
    OCTAVO_ASSIGN(const std::vector<float> got, outputs_of(context, made.model));
    errors.push_back(mean_squared_error(wanted, got));
  }
  return errors;
}

// Hutchinson: the trace is the mean of v'Hv over random signs v, and
// v'Hv = (L(w + e v) - 2 L(w) + L(w - e v)) / e^2.
Result<std::vector<double>> hessian_traces(TuningContext& context) {
  OCTAVO_TRY(need_samples(context));
  OCTAVO_ASSIGN(const std::vector<float> wanted, outputs_of(context, context.model));
  const auto loss = [&](const Model& model) -> Result<double> {
    if (context.loss) return context.loss(model);
    OCTAVO_ASSIGN(const std::vector<float> got, outputs_of(context, model));
    return mean_squared_error(wanted, got);
  };
  OCTAVO_ASSIGN(const double at_rest, loss(context.model));
  const Graph& graph = context.model.graph();
  std::mt19937_64 random(static_cast<uint64_t>(context.config.seed));
  std::vector<double> traces;
  for (const TunableOp& op : context.ops) {
    traces.push_back(0);
    const auto node = std::ranges::find(graph.nodes, op.name, &Node::name);
    if (!op.computes || node == graph.nodes.end()) continue;
    const ValueId weight =
        node->input(static_cast<size_t>(find_op(node->kind)->quant.weight_input));
    const auto values = graph.value(weight).constant.data<const float>();
    double squares = 0;
    for (const float w : values) squares += static_cast<double>(w) * w;
    const double step =
        kStep * std::sqrt(squares / static_cast<double>(std::max<size_t>(values.size(), 1)));
    if (!(step > 0)) continue;
    for (int probe = 0; probe < kProbes; ++probe) {
      std::vector<bool> signs(values.size());
      for (size_t i = 0; i < signs.size(); ++i) signs[i] = (random() & 1) != 0;
      double sum = -2 * at_rest;
      for (const double direction : {step, -step}) {
        Graph moved = graph;
        OCTAVO_ASSIGN(Tensor tensor, Tensor::create(DType::kF32, graph.value(weight).shape));
        const auto to = tensor.data<float>();
        for (size_t i = 0; i < to.size(); ++i) {
          to[i] = static_cast<float>(values[i] + (signs[i] ? direction : -direction));
        }
        moved.value(weight).constant = std::move(tensor);
        OCTAVO_ASSIGN(const double moved_loss,
                      loss(Model(std::make_shared<const Graph>(std::move(moved)))));
        sum += moved_loss;
      }
      traces.back() += sum / (step * step) / kProbes;
    }
  }
  return traces;
}

}  // namespace octavo
