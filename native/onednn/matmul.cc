#include "native/onednn/epilogue.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"

namespace octavo::onednn {

namespace {

bool is_transposed(const Node& node, const char* which) {
  return node.kind == OpKind::kGemm && node.get_int(which) != 0;
}

// Constant 2-D weights; Gemm in the form op(x) * op(w) + bias.
bool is_product(const PlanGraph& graph, const Node& node) {
  if (node.kind != OpKind::kMatMul && node.kind != OpKind::kGemm) return false;
  const ValueId weight = node.input(1);
  if (!graph.is_constant(weight) || graph.info(weight).shape.rank() != 2) return false;
  if (graph.info(node.input(0)).shape.rank() < 2 || !supports_dtypes(graph, node)) return false;
  if (node.input(2) != kNoValue && graph.info(node.input(2)).shape.rank() > 1) return false;
  return node.kind == OpKind::kMatMul ||
         (node.get_float("alpha") == 1 && node.get_float("beta") == 1);
}

Result<std::unique_ptr<Step>> create(const PlanGraph& graph, const Node& node,
                                     const std::optional<Eltwise>& tail, ValueId output) {
  const TensorInfo &x = graph.info(node.input(0)), &w = graph.info(node.input(1));
  const TensorInfo& y = graph.info(node.output(0));
  const bool transposed = is_transposed(node, "transB"), columns = is_transposed(node, "transA");
  const int64_t k = w.shape[transposed ? 1 : 0], n = w.shape[transposed ? 0 : 1];
  const int64_t rows = columns ? x.shape[1] : x.shape.elements(0, x.shape.rank() - 1);
  OCTAVO_ASSIGN(Epilogue epilogue, make_epilogue(graph, node, n, 2, tail));
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    using dnnl::memory;
    const memory::desc src({rows, k}, data_type_of(x.dtype),
                           columns ? memory::dims{1, rows} : memory::dims{k, 1});
    const memory::desc dst = desc_of(Shape{rows, n}, y.dtype, Layout::kPlain);
    const memory::desc weight_plain({k, n}, data_type_of(w.dtype),
                                    transposed ? memory::dims{1, k} : memory::dims{n, 1});
    const memory::desc weight_any({k, n}, data_type_of(w.dtype), memory::format_tag::any);
    const dnnl::matmul::primitive_desc description(current_device()->engine(), src, weight_any,
                                                   bias_desc(epilogue, {1, n}), dst,
                                                   epilogue.attributes);
    return make_weighted_step<dnnl::matmul>(description, epilogue, weight_plain, w.constant.raw(),
                                            node, output);
  });
}

Result<std::unique_ptr<Step>> create_matmul(const PlanGraph& graph, const Node& node, Layout) {
  return create(graph, node, {}, node.output(0));
}
Result<std::unique_ptr<Step>> create_matmul_with_tail(const PlanGraph& graph, const Node& node,
                                                      Layout, const Eltwise& tail, ValueId output) {
  return create(graph, node, tail, output);
}

const PrimitiveDef kRows[] = {
    {"matmul", OpKind::kMatMul, ClaimLayout::kPlain, is_product, create_matmul,
     create_matmul_with_tail},
    {"gemm", OpKind::kGemm, ClaimLayout::kPlain, is_product, create_matmul,
     create_matmul_with_tail},
};

}  // namespace

bool supports_matmul(const PlanGraph& graph, const Node& node) {
  return is_product(graph, node) && !is_transposed(node, "transA");
}

std::span<const PrimitiveDef> matmul_primitives() { return kRows; }

}  // namespace octavo::onednn
