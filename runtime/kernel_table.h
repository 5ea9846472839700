// The portable backend's kernels: one row per (operator, dtype signature), tried in order before
// the operator's reference function. Rows are in runtime/kernels/<family>.cc.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "runtime/backend.h"

namespace octavo {

/// What each of the 256 values of a byte becomes.
using ByteTable = std::array<uint8_t, 256>;

namespace kernels {
struct UnaryFunction;
}

struct KernelDef {
  const char* name;  // "conv_u8s8": shown by bench --per-op
  OpKind op;
  ClaimLayout layout;  // what it wants; kChannelsLast only for operators on N,C,spatial tensors
  /// Whether this row can run the node with these dtypes, shapes and attributes. Shapes of all
  /// inputs and outputs are static when this is asked.
  bool (*supports)(const PlanGraph& graph, const Node& node);
  /// Packs weights and chooses tiles. `layout` is the settled layout of activations.
  Result<std::unique_ptr<Step>> (*create)(const PlanGraph& graph, const Node& node, Layout layout);
  /// Whether results are the same bits on every SIMD target: integers, or floats without sums, or
  /// sums in one order without fused multiply-add.
  bool exact = false;
  /// Of an 8-bit result y: writes table[y] as the value `output`; nullptr: cannot.
  Result<std::unique_ptr<Step>> (*create_with_table)(const PlanGraph& graph, const Node& node,
                                                     const ByteTable& table,
                                                     ValueId output) = nullptr;
  /// Of a bf16 result: writes function(y) as the value `output`; nullptr: cannot.
  Result<std::unique_ptr<Step>> (*create_with_function)(const PlanGraph& graph, const Node& node,
                                                        const kernels::UnaryFunction& function,
                                                        ValueId output) = nullptr;
};
/// The row that runs a node; nullptr: none.
using FindKernel = const KernelDef* (*)(const PlanGraph& graph, const Node& node);
inline constexpr bool kExact = true;

/// Several nodes as one step: asked before single nodes get a row each. Rows are found by `find`.
struct FusionDef {
  /// Disjoint claims over nodes of which `available[node]` is true.
  std::vector<Claim> (*claim)(const PlanGraph& graph, const std::vector<bool>& available,
                              FindKernel find);
  Result<std::unique_ptr<Step>> (*create)(const PlanGraph& graph, const Claim& claim, Layout layout,
                                          FindKernel find);
};

namespace kernels {
std::span<const KernelDef> conv_kernels();  // conv.cc: f32 and int8 convolution, depthwise
std::span<const KernelDef> conv_transpose_kernels();  // conv_transpose.cc
std::span<const KernelDef> matmul_kernels();          // matmul.cc: MatMul, Gemm in f32 and int8
std::span<const KernelDef> pool_kernels();            // pool.cc
std::span<const KernelDef> elementwise_kernels();     // elementwise.cc: binary, quantize
std::span<const KernelDef> pointwise_kernels();       // pointwise.cc: unary functions, tables
std::span<const KernelDef> move_kernels();            // move.cc: concatenation
std::span<const KernelDef> half_kernels();       // half.cc: Cast between f32 and half precision
std::span<const KernelDef> row_kernels();        // rows.cc: softmax, normalizations, reductions
std::span<const KernelDef> resize_kernels();     // resize.cc
std::span<const KernelDef> recurrent_kernels();  // recurrent.cc: LSTM, GRU, RNN in f32
/// fixed_order.cc: exact f32 convolution and matrix products, for make_deterministic_backend().
std::span<const KernelDef> fixed_order_kernels();
/// pointwise.cc: nodes that are one function of one number, perhaps behind a kernel that looks its
/// results up in a table of it.
FusionDef pointwise_fusion();
FusionDef
dequantized_pool_fusion();  // pool.cc: an average pool that alone reads what it dequantizes
}  // namespace kernels

}  // namespace octavo
