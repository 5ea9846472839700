// The passes, one declaration each. What they do is said at their definitions.
#pragma once

#include "core/passes/passes.h"

namespace octavo::passes {

Result<int> infer_shapes(Graph& graph);            // fold.cc
Result<int> fold_constants(Graph& graph);          // fold.cc
Result<int> remove_noops(Graph& graph);            // simplify.cc
Result<int> merge_duplicates(Graph& graph);        // simplify.cc
Result<int> remove_dead_code(Graph& graph);        // simplify.cc
Result<int> merge_transposes(Graph& graph);        // move.cc
Result<int> merge_reshapes(Graph& graph);          // move.cc
Result<int> merge_casts(Graph& graph);             // merge_casts.cc
Result<int> fuse_quantize_casts(Graph& graph);     // merge_casts.cc
Result<int> fold_affine(Graph& graph);             // fuse_norm.cc
Result<int> simplify_gemm(Graph& graph);           // fuse_bias.cc
Result<int> fuse_activations(Graph& graph);        // fuse_activation.cc
Result<int> fuse_hard_swish(Graph& graph);         // fuse_activation.cc
Result<int> remove_saturated_clips(Graph& graph);  // fuse_activation.cc
Result<int> fuse_pads(Graph& graph);               // fuse_pad.cc
Result<int> fuse_space_to_depth(Graph& graph);     // fuse_space_to_depth.cc
Result<int> fuse_residuals(Graph& graph);          // fuse_residual.cc

}  // namespace octavo::passes
