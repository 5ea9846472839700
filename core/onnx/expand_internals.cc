#include "core/graph_edit.h"
#include "core/onnx/exporter.h"
#include "core/onnx/matmul_nbits.h"
#include "runtime/op.h"
#include "runtime/requantize.h"

namespace octavo::onnx_io {
namespace {

class InternalsExpander {
 public:
  explicit InternalsExpander(Graph& graph) : editor_(graph), graph_(graph) {}

  Status run() {
    const auto count = static_cast<NodeId>(graph_.nodes.size());
    for (NodeId id = 0; id < count; ++id) {
      next_ = id + 1 < count ? id + 1 : -1;
      auto status = expand(id);
      if (status) continue;
      Error error = std::move(status).error();
      if (error.node.empty()) error.node = node(id).name;
      return std::unexpected(std::move(error));
    }
    editor_.finish();
    return {};
  }

 private:
  Node& node(NodeId id) { return graph_.nodes[static_cast<size_t>(id)]; }

  Status expand(NodeId id) {
    for (Attribute& attribute : node(id).attributes) {
      auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value);
      if (body == nullptr || *body == nullptr) continue;
      Graph copy = **body;
      OCTAVO_TRY(expand_internals(copy));
      attribute.value = std::make_shared<const Graph>(std::move(copy));
    }
    // In the order in which they are computed: bias, residual, activation. Each gets the node's
    // output, so the last one is made first.
    OCTAVO_TRY(expand_activation(id));
    if (node(id).kind == OpKind::kConv) expand_added_input(id, 3);
    if (node(id).has(kMicrosoftOp)) return {};
    if (node(id).kind == OpKind::kMatMul) expand_matmul_bias(id);
    const OpDef* op = find_op(node(id).kind);
    if (op == nullptr) return {};
    for (const FieldDef& field : op->fields) {
      // The writer turns captured inputs back into uses of outer names.
      const bool implied = std::string_view(field.name) == "captured";
      if (!field.internal || implied || !node(id).has(field.name)) continue;
      return fail(ErrorCode::kInternal, op->name, ": '", field.name, "' has no form in ONNX");
    }
    return {};
  }

  // Puts `after`, which still lacks its first input and its output, behind node `id`.
  void append(NodeId id, Node after, const char* suffix) {
    const ValueId output = node(id).outputs[0];
    const Value& value = graph_.value(output);
    const std::string name = value.name;
    const ValueId inner = editor_.add_value(concat(name, suffix), value.dtype, value.shape);
    editor_.set_output(id, 0, inner);
    after.inputs.insert(after.inputs.begin(), inner);
    after.outputs = {output};
    after.name = concat(node(id).name, suffix);
    next_ = editor_.insert_before(next_, std::move(after));
  }

  Status expand_activation(NodeId id) {
    if (!node(id).has("activation")) return {};
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node(id)));
    const std::string kind(node(id).get_string("activation"));
    node(id).unset("activation");
    node(id).unset("activation_params");
    if (kind.empty()) return {};
    if (kind == "Relu") {
      append(id, {.kind = OpKind::kRelu}, "_before_relu");
      return {};
    }
    const DType dtype = graph_.value(node(id).outputs[0]).dtype;
    const auto bound = [&](const char* name, float value) {
      if (std::isinf(value)) return kNoValue;
      const Tensor tensor = dtype == DType::kBF16  ? Tensor::scalar(BFloat16(value))
                            : dtype == DType::kF16 ? Tensor::scalar(Float16(value))
                                                   : Tensor::scalar(value);
      return editor_.add_constant(concat(node(id).name, name), tensor);
    };
    Node clip{.kind = OpKind::kClip};
    clip.inputs = {bound("_min", bounds.lo), bound("_max", bounds.hi)};
    while (!clip.inputs.empty() && clip.inputs.back() == kNoValue) clip.inputs.pop_back();
    append(id, std::move(clip), "_before_clip");
    return {};
  }

  // Matrices become a Gemm, which has a bias (and which other runtimes quantize as one operator).
  void expand_matmul_bias(NodeId id) {
    if (node(id).input(2) == kNoValue) return;
    const auto rank = [&](size_t i) { return graph_.value(node(id).inputs[i]).shape.rank(); };
    if (rank(0) == 2 && rank(1) == 2 && rank(2) == 1) {
      node(id).kind = OpKind::kGemm;
    } else {
      expand_added_input(id, 2);
    }
  }

  void expand_added_input(NodeId id, size_t input) {
    const ValueId added = node(id).input(input);
    if (added == kNoValue) return;
    editor_.set_input(id, input, kNoValue);
    auto& inputs = node(id).inputs;
    while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
    append(id, {.kind = OpKind::kAdd, .inputs = {added}}, "_before_add");
  }

  GraphEditor editor_;
  Graph& graph_;
  NodeId next_ = -1;  // the node before which new ones are placed
};

}  // namespace

Status expand_internals(Graph& graph) { return InternalsExpander(graph).run(); }

}  // namespace octavo::onnx_io
