#include <algorithm>

#include "core/diagnosis/names.h"
#include "core/report/report.h"

namespace octavo {

// Each takes two sessions.
static constexpr size_t kRankedOps = 32;

// Operators each of which alone costs the output at least a quarter of the error that it has, if
// that is so much that they are worth the time that they take in float.
static std::string advice(const Report& report) {
  constexpr double kGood = 20, kQuarter = 6;  // dB
  constexpr size_t kMostOps = 8;
  const double output = report.sources->both_sqnr_db;
  std::string options;
  size_t count = 0;
  for (const OpSensitivity& op : report.sensitivity) {
    if (op.sqnr_db > output + kQuarter || ++count > kMostOps) break;
    options += concat(" --set-local ", op.node, "=act_dtype:fp32");
  }
  if (output >= kGood || options.empty()) return "";
  return concat(
      "A few operators alone cost most of the output's SQNR; to leave them float, quantize "
      "with",
      options);
}

Result<Reporter> Reporter::create(const Model& float_model, const Model& as_it_is,
                                  const std::shared_ptr<ThreadPool>& pool) {
  const auto is_quantized = [](const Value& value) { return value.quant != nullptr; };
  if (std::ranges::any_of(float_model.graph().values, is_quantized)) {
    return fail(ErrorCode::kInvalidArgument,
                "the first model is quantized; the float model it was made from comes first");
  }
  const Model quantized = with_names_of(float_model, as_it_is);
  OCTAVO_ASSIGN(Diagnoser diagnoser, Diagnoser::create(float_model, quantized, pool));
  OCTAVO_ASSIGN(ErrorSourceFinder sources, ErrorSourceFinder::create(float_model, quantized, pool));
  return Reporter(std::move(diagnoser), std::move(sources),
                  SensitivityRanker(float_model, quantized, pool));
}

Status Reporter::observe(const NamedTensors& feeds) {
  OCTAVO_TRY(diagnoser_.observe(feeds));
  OCTAVO_TRY(ranker_.observe(feeds));
  return samples_++ < kSourceSamples ? sources_.observe(feeds) : Status();
}

Status Reporter::finish(Report& report, const ProgressFn& progress) {
  OCTAVO_ASSIGN(report.diagnosis, diagnoser_.finish());
  OCTAVO_ASSIGN(report.sources, sources_.finish());
  std::vector<const OpDiagnosis*> worst;
  for (const OpDiagnosis& op : report.diagnosis.ops) {
    if (op.own_sqnr_db) worst.push_back(&op);
  }
  std::ranges::stable_sort(worst, {}, [](const OpDiagnosis* op) { return *op->own_sqnr_db; });
  std::vector<std::string> nodes;
  for (const OpDiagnosis* op : worst) {
    if (nodes.size() < kRankedOps) nodes.push_back(op->node);
  }
  if (worst.empty()) {
    report.hint =
        "no operator of the quantized model is one of the float model's by name, or by its place "
        "in the graph; to see single operators, quantize this float model with keep_names";
  }
  OCTAVO_ASSIGN(report.sensitivity, ranker_.finish(nodes, progress));
  if (report.hint.empty()) report.hint = advice(report);
  return {};
}

}  // namespace octavo
