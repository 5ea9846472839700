// Mixed precision as a stage, which needs no data.
#include <algorithm>

#include "core/passes/passes.h"
#include "core/quantization/annotate.h"
#include "core/quantization/mixed_precision.h"
#include "core/quantization/stage.h"

namespace octavo {
namespace {

DType half_type(std::string_view name) {
  return name == "bf16" ? DType::kBF16 : name == "fp16" ? DType::kF16 : DType::kF32;
}

Status check_types(const char* option, const std::vector<std::string>& types) {
  std::vector<std::string> known;
  for (const OpDef* op : all_ops()) known.emplace_back(op->name);
  for (const std::string& type : types) {
    if (std::ranges::contains(known, type)) continue;
    return fail(ErrorCode::kNotFound, option, ": there is no operator type '", type, "'",
                did_you_mean(type, known));
  }
  return {};
}

class MixedStage final : public Stage {
 public:
  MixedStage(std::shared_ptr<const Graph> graph, const MixedPrecisionConfig& config)
      : graph_(std::move(graph)), config_(config) {}

  int passes() const override { return 0; }
  Status observe(const NamedTensors&) override { return {}; }
  Status end_pass() override { return {}; }

  Result<Graph> finish(QuantizeReport& report) override {
    std::vector<MixedNode> nodes;
    for (const Node& node : graph_->nodes) {
      const OpDef& op = *find_op(node.kind);
      MixedNode& mixed = nodes.emplace_back(MixedNode{.policy = policy(op)});
      if (!config_.allows(node.name, op.name)) {
        mixed.reason = "not in white_list";
        continue;
      }
      mixed.dtype = half_type(config_.resolve(node.name, op.name).dtype);
      if (mixed.dtype == DType::kF32) mixed.reason = "dtype is fp32";
    }
    OCTAVO_ASSIGN(Graph graph, convert_mixed(*graph_, nodes));
    report_mixed(*graph_, nodes, report);
    OCTAVO_TRY(run_passes(graph, mixed_passes()));
    return graph;
  }

 private:
  MixedPolicy policy(const OpDef& op) const {
    if (std::ranges::contains(config_.deny_list, op.name)) return MixedPolicy::kDeny;
    if (std::ranges::contains(config_.allow_list, op.name)) return MixedPolicy::kAllow;
    if (std::ranges::contains(config_.infer_list, op.name)) return MixedPolicy::kInfer;
    return op.mixed.policy;
  }

  std::shared_ptr<const Graph> graph_;
  MixedPrecisionConfig config_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const MixedPrecisionConfig& config) {
  OCTAVO_TRY(check_patterns(*input.graph, config));
  OCTAVO_TRY(check_types("allow_list", config.allow_list));
  OCTAVO_TRY(check_types("infer_list", config.infer_list));
  OCTAVO_TRY(check_types("deny_list", config.deny_list));
  return std::make_unique<MixedStage>(input.graph, config);
}

}  // namespace octavo
