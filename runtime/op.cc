#include "runtime/op.h"

#include <array>

#include "runtime/ops/families.h"

namespace octavo {
namespace {

struct OpTable {
  std::array<const OpDef*, kOpKindCount> by_kind{};
  std::vector<const OpDef*> rows;

  OpTable() {
    const std::span<const OpDef> families[] = {
        ops::unary_ops(),     ops::binary_ops(),   ops::cast_ops(),   ops::select_ops(),
        ops::quantize_ops(),  ops::conv_ops(),     ops::matmul_ops(), ops::einsum_ops(),
        ops::columns_ops(),   ops::pool_ops(),     ops::roi_ops(),    ops::norm_ops(),
        ops::softmax_ops(),   ops::reduce_ops(),   ops::rank_ops(),   ops::shape_ops(),
        ops::arrange_ops(),   ops::slice_ops(),    ops::pad_ops(),    ops::gather_ops(),
        ops::scatter_ops(),   ops::generate_ops(), ops::resize_ops(), ops::image_ops(),
        ops::recurrent_ops(), ops::control_ops(),  ops::signal_ops(), ops::loss_ops(),
    };
    for (const auto& family : families) {
      for (const OpDef& op : family) {
        by_kind[static_cast<size_t>(op.kind)] = &op;
        rows.push_back(&op);
      }
    }
  }
};

const OpTable& table() {
  static const OpTable kTable;
  return kTable;
}

}  // namespace

const OpDef* find_op(OpKind kind) {
  const auto index = static_cast<size_t>(kind);
  return index < kOpKindCount ? table().by_kind[index] : nullptr;
}

const OpDef* find_op(std::string_view domain, std::string_view name) {
  if (domain == "ai.onnx") domain = "";
  for (const OpDef* op : table().rows) {
    if (name == op->name && domain == op->domain) return op;
  }
  return nullptr;
}

std::span<const OpDef* const> all_ops() { return table().rows; }

std::string_view op_name(OpKind kind) {
  const OpDef* op = find_op(kind);
  return op == nullptr ? "unknown" : op->name;
}

const FieldDef* find_field(const OpDef& op, std::string_view name) {
  for (const FieldDef& field : op.fields) {
    if (name == field.name) return &field;
  }
  return nullptr;
}

bool is_default(const FieldDef& field, const AttributeValue& value) {
  if (field.required) return false;
  if (const auto* number = std::get_if<int64_t>(&value)) return *number == field.int_default;
  if (const auto* number = std::get_if<float>(&value)) return *number == field.float_default;
  if (const auto* text = std::get_if<std::string>(&value)) return *text == field.string_default;
  const auto* list = std::get_if<std::vector<int64_t>>(&value);
  return list != nullptr && field.repeated &&
         std::ranges::all_of(*list, [&](int64_t item) { return item == field.int_default; });
}

Result<TensorView> KernelContext::make_output(size_t i, DType dtype, const Shape& shape) {
  if (outputs[i].data != nullptr && outputs[i].dtype == dtype && outputs[i].shape == shape) {
    return outputs[i];
  }
  if (!allocate) return fail(ErrorCode::kInternal, "an output's shape differs from its inference");
  OCTAVO_ASSIGN(outputs[i], allocate(i, dtype, shape));
  return outputs[i];
}

}  // namespace octavo
