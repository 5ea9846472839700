#include <algorithm>

#include "core/diagnosis/names.h"
#include "core/report/report.h"

namespace octavo {

// Each takes two sessions.
static constexpr size_t kRankedOps = 32;

Result<Reporter> Reporter::create(const Model& float_model, const Model& as_it_is,
                                  const std::shared_ptr<ThreadPool>& pool) {
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
  return {};
}

}  // namespace octavo
