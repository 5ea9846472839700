#include "core/passes/passes.h"

#include "core/passes/pass_list.h"
#include "core/quantization/qdq.h"

namespace octavo {
namespace {

using namespace passes;

constexpr Pass kOptimize[] = {
    {"infer_shapes", infer_shapes},         {"fold_constants", fold_constants},
    {"remove_noops", remove_noops},         {"remove_dead_code", remove_dead_code},
    {"merge_duplicates", merge_duplicates}, {"merge_transposes", merge_transposes},
    {"merge_reshapes", merge_reshapes},     {"merge_casts", merge_casts},
    {"simplify_gemm", simplify_gemm},       {"fuse_hard_swish", fuse_hard_swish},
    {"fold_affine", fold_affine},           {"fuse_pads", fuse_pads},
    {"fuse_activations", fuse_activations}, {"fuse_space_to_depth", fuse_space_to_depth},
    {"remove_noops", remove_noops},         {"remove_dead_code", remove_dead_code},
    {"infer_shapes", infer_shapes},
};

constexpr Pass kExecution[] = {
    {"remove_saturated_clips", remove_saturated_clips},
    {"fuse_space_to_depth", fuse_space_to_depth},
    {"fuse_residuals", fuse_residuals},
    {"fuse_activations", fuse_activations},
    {"fuse_quantize_casts", fuse_quantize_casts},
    {"remove_dead_code", remove_dead_code},
};

constexpr Pass kMixed[] = {
    {"merge_casts", merge_casts},
    {"remove_dead_code", remove_dead_code},
};

constexpr Pass kCollapse[] = {{"collapse_qdq", collapse_qdq}};

}  // namespace

Status run_passes(Graph& graph, std::span<const Pass> passes, const PassOptions& options) {
  int count = 0;
  for (const Pass& pass : passes) {
    if (options.stop_after >= 0 && count >= options.stop_after) break;
    ++count;
    if (auto changes = pass.run(graph); !changes)
      return std::unexpected(std::move(changes).error());
    if (options.after) options.after(pass.name, graph);
  }
  return {};
}

std::span<const Pass> optimize_passes() { return kOptimize; }
std::span<const Pass> collapse_passes() { return kCollapse; }
std::span<const Pass> execution_passes() { return kExecution; }
std::span<const Pass> mixed_passes() { return kMixed; }

}  // namespace octavo
