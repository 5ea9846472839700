#include "core/onnx/normalize.h"

#include <algorithm>

namespace octavo::onnx_io {

int64_t Rewrite::int_or(std::string_view name, int64_t value) const {
  const AttributeValue* found = node.find(name);
  const auto* number = found == nullptr ? nullptr : std::get_if<int64_t>(found);
  return number == nullptr ? value : *number;
}
float Rewrite::float_or(std::string_view name, float value) const {
  const AttributeValue* found = node.find(name);
  const auto* number = found == nullptr ? nullptr : std::get_if<float>(found);
  return number == nullptr ? value : *number;
}
std::string Rewrite::string_or(std::string_view name, std::string_view value) const {
  const AttributeValue* found = node.find(name);
  const auto* text = found == nullptr ? nullptr : std::get_if<std::string>(found);
  return text == nullptr ? std::string(value) : *text;
}
const std::vector<int64_t>* Rewrite::ints(std::string_view name) const {
  const AttributeValue* found = node.find(name);
  return found == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(found);
}

void Rewrite::set_input(size_t i, ValueId value) {
  if (i >= node.inputs.size()) node.inputs.resize(i + 1, kNoValue);
  node.inputs[i] = value;
}

ValueId Rewrite::constant(std::string_view suffix, Tensor tensor) {
  return builder.add_constant(builder.unique_name(concat(node.name, "_", suffix)),
                              std::move(tensor));
}

Result<ValueId> Rewrite::add(OpKind kind, std::vector<ValueId> inputs,
                             std::vector<Attribute> attributes) {
  const ValueId output =
      builder.add_value(builder.unique_name(concat(node.name, "_", op_name(kind))));
  OCTAVO_TRY(add_to(output, kind, std::move(inputs), std::move(attributes)));
  return output;
}

Status Rewrite::add_to(ValueId output, OpKind kind, std::vector<ValueId> inputs,
                       std::vector<Attribute> attributes) {
  if (find_op(kind) == nullptr) {
    return fail(ErrorCode::kUnsupportedOp, op, " needs an operator that Octavo does not have");
  }
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  std::string name = concat(node.name, "/", op_name(kind));
  if (!node.outputs.empty() && output == node.outputs[0]) name = node.name;
  return builder.add_node({.kind = kind,
                           .inputs = std::move(inputs),
                           .outputs = {output},
                           .attributes = std::move(attributes),
                           .name = std::move(name)});
}

ValueId Rewrite::detach_output() {
  const std::string name = concat(builder.graph.value(node.outputs[0]).name, "_", op);
  return node.outputs[0] = builder.add_value(builder.unique_name(name));
}

Status Rewrite::add_self(OpKind kind) {
  node.kind = kind;
  while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  return builder.add_node(std::move(node));
}

namespace {

Status missing(const Rewrite& r, std::string_view what) {
  return fail(ErrorCode::kInvalidModel, r.op, ": ", what, " is missing");
}

/// A scalar of input 0's dtype.
Result<ValueId> scalar_like_input(Rewrite& r, std::string_view suffix, float value) {
  const DType dtype = r.info(r.input(0)) == nullptr ? DType::kF32 : r.info(r.input(0))->dtype;
  OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, Shape{}));
  visit_dtype(
      dtype,
      [&]<class T>() {
        if constexpr (std::is_same_v<T, Int4> || std::is_same_v<T, UInt4>) {
          tensor.data<T>()[0] = T(static_cast<int>(value));
        } else {
          tensor.data<T>()[0] = static_cast<T>(value);
        }
      },
      [] {});
  return r.constant(suffix, std::move(tensor));
}

/// Moves a list of integers from an attribute to an input.
void ints_to_input(Rewrite& r, std::string_view attribute, size_t input) {
  if (const std::vector<int64_t>* values = r.ints(attribute)) {
    r.set_input(input, r.constant(attribute, Tensor::vector_i64(*values)));
  }
  r.node.unset(attribute);
}

Status axes_to_input(Rewrite& r) {
  ints_to_input(r, "axes", 1);
  return {};
}

Status clip(Rewrite& r) {
  for (const char* name : {"min", "max"}) {
    if (!r.node.has(name)) continue;
    OCTAVO_ASSIGN(const ValueId bound, scalar_like_input(r, name, r.float_or(name, 0)));
    r.set_input(name[1] == 'i' ? 1 : 2, bound);
    r.node.unset(name);
  }
  return {};
}

Status slice(Rewrite& r) {
  if (!r.ints("starts") || !r.ints("ends")) return missing(r, "attribute 'starts' or 'ends'");
  ints_to_input(r, "starts", 1);
  ints_to_input(r, "ends", 2);
  ints_to_input(r, "axes", 3);
  return {};
}

Status pad(Rewrite& r) {
  const char* name = r.node.has("pads") ? "pads" : "paddings";
  if (!r.ints(name)) return missing(r, "attribute 'pads'");
  ints_to_input(r, name, 1);
  OCTAVO_ASSIGN(const ValueId value, scalar_like_input(r, "value", r.float_or("value", 0)));
  r.set_input(2, value);
  r.node.unset("value");
  return {};
}

Status reshape_1(Rewrite& r) {
  if (!r.ints("shape")) return missing(r, "attribute 'shape'");
  ints_to_input(r, "shape", 1);
  return {};
}

// Upsample and Resize before version 11 place output pixel i at i / scale.
Status resize_10(Rewrite& r) {
  ValueId scales = r.input(1);
  if (const AttributeValue* given = r.node.find("scales")) {
    const auto* values = std::get_if<std::vector<float>>(given);
    if (values == nullptr) return missing(r, "attribute 'scales'");
    scales = r.constant("scales",
                        Tensor::of<float>(Shape{static_cast<int64_t>(values->size())}, *values));
  }
  if (scales == kNoValue) return missing(r, "the scales");
  std::string mode = r.string_or("mode", "nearest");
  if (mode == "bilinear") mode = "linear";
  r.op = "Resize";
  r.node.inputs = {r.input(0), kNoValue, scales};
  r.node.attributes = {{"mode", mode},
                       {"coordinate_transformation_mode", std::string("asymmetric")},
                       {"nearest_mode", std::string("floor")}};
  return {};
}

// Since version 11 `roi` and `scales` may be empty tensors that mean "not given".
Status resize_11(Rewrite& r) {
  for (const size_t i : {1, 2}) {
    const TensorInfo* info = r.info(r.input(i));
    if (info != nullptr && info->shape.is_static() && info->shape.elements() == 0) {
      r.node.inputs[i] = kNoValue;
    }
  }
  return {};
}

Status dropout(Rewrite& r) {
  r.node.unset("ratio");
  r.node.unset("is_test");
  return {};
}

// Before version 13 the input is seen as a matrix whose columns are the axes from `axis` on.
Status softmax(Rewrite& r) {
  const int64_t axis = r.int_or("axis", 1);
  const ValueId x = r.input(0);
  if (x == kNoValue) return missing(r, "the input");
  const int rank = r.builder.rank(x);
  if (rank >= 0 && (axis == rank - 1 || axis == -1)) {
    r.node.set("axis", int64_t{-1});
    return {};
  }
  OCTAVO_ASSIGN(const ValueId flat, r.add(OpKind::kFlatten, {x}, {{"axis", axis}}));
  OCTAVO_ASSIGN(const ValueId shape, r.add(OpKind::kShape, {x}));
  const ValueId output = r.node.output(0);
  const ValueId inner = r.detach_output();
  const OpDef* row = find_op("", r.op);
  if (row == nullptr) return fail(ErrorCode::kUnsupportedOp, r.op, " is not supported");
  r.done = true;
  OCTAVO_TRY(r.add_to(inner, row->kind, {flat}, {{"axis", int64_t{-1}}}));
  return r.add_to(output, OpKind::kReshape, {inner, shape});
}

Status batch_normalization(Rewrite& r) {
  if (r.int_or("spatial", 1) == 0) {
    return fail(ErrorCode::kUnsupportedOp, "BatchNormalization with spatial=0 is not supported");
  }
  // Outputs past the first were for training.
  r.node.outputs.resize(std::min<size_t>(r.node.outputs.size(), 1));
  for (const char* name : {"spatial", "is_test"}) r.node.unset(name);
  return {};
}

Status top_k_1(Rewrite& r) {
  if (!r.node.has("k")) return missing(r, "attribute 'k'");
  r.set_input(1, r.constant("k", Tensor::of<int64_t>(Shape{1}, {r.int_or("k", 0)})));
  r.node.unset("k");
  return {};
}

Status split(Rewrite& r) {
  ints_to_input(r, "split", 1);
  if (r.input(1) == kNoValue) {
    r.node.set("num_outputs", static_cast<int64_t>(r.node.outputs.size()));
  }
  return {};
}

Status scatter(Rewrite& r) {
  r.op = "ScatterElements";
  return {};
}

// Version 1 named the type.
Status cast_1(Rewrite& r) {
  constexpr std::pair<const char*, int64_t> kNames[] = {
      {"FLOAT", 1}, {"UINT8", 2}, {"INT8", 3},     {"UINT16", 4},  {"INT16", 5},   {"INT32", 6},
      {"INT64", 7}, {"BOOL", 9},  {"FLOAT16", 10}, {"DOUBLE", 11}, {"UINT32", 12}, {"UINT64", 13}};
  const std::string name = r.string_or("to", "");
  for (const auto& [text, number] : kNames) {
    if (name == text) r.node.set("to", number);
  }
  return {};
}

Status dft_17(Rewrite& r) {
  r.set_input(2, r.constant("axis", Tensor::scalar<int64_t>(r.int_or("axis", 1))));
  r.node.unset("axis");
  return {};
}

// Before version 21 scale and bias were per group.
Status group_normalization_18(Rewrite& r) {
  const int64_t groups = r.int_or("num_groups", 0);
  const TensorInfo* x = r.info(r.input(0));
  if (groups < 1 || x == nullptr) return missing(r, "attribute 'num_groups' or the input");
  const ValueId column = r.constant("column", Tensor::vector_i64(std::vector<int64_t>{-1, 1}));
  const ValueId flat = r.constant("flat", Tensor::vector_i64(std::vector<int64_t>{-1}));
  ValueId repeats = kNoValue;
  if (x->shape.rank() >= 2 && x->shape[1] >= 0) {
    repeats = r.constant("repeats",
                         Tensor::vector_i64(std::vector<int64_t>{groups, x->shape[1] / groups}));
  } else {
    OCTAVO_ASSIGN(const ValueId channels, r.add(OpKind::kShape, {r.input(0)},
                                                {{"start", int64_t{1}}, {"end", int64_t{2}}}));
    const ValueId count = r.constant("groups", Tensor::vector_i64(std::vector<int64_t>{groups}));
    OCTAVO_ASSIGN(const ValueId per_group, r.add(OpKind::kDiv, {channels, count}));
    OCTAVO_ASSIGN(repeats, r.add(OpKind::kConcat, {count, per_group}, {{"axis", int64_t{0}}}));
  }
  for (const size_t i : {1, 2}) {
    OCTAVO_ASSIGN(const ValueId matrix, r.add(OpKind::kReshape, {r.input(i), column}));
    OCTAVO_ASSIGN(const ValueId wide, r.add(OpKind::kExpand, {matrix, repeats}));
    OCTAVO_ASSIGN(r.node.inputs[i], r.add(OpKind::kReshape, {wide, flat}));
  }
  return {};
}

Status roi_align_10(Rewrite& r) {
  r.node.set("coordinate_transformation_mode", std::string("output_half_pixel"));
  return {};
}

Status grid_sample_16(Rewrite& r) {
  const std::string mode = r.string_or("mode", "bilinear");
  r.node.set("mode", std::string(mode == "bilinear"  ? "linear"
                                 : mode == "bicubic" ? "cubic"
                                                     : mode));
  return {};
}

Status concat_1(Rewrite& r) {
  if (!r.node.has("axis")) r.node.set("axis", int64_t{1});
  return {};
}

// Before version 7 the second operand's axes could be matched from `axis` on.
Status legacy_broadcast(Rewrite& r) {
  const int64_t axis = r.int_or("axis", -1);
  const int rank_a = r.builder.rank(r.input(0)), rank_b = r.builder.rank(r.input(1));
  if (r.int_or("broadcast", 0) != 0 && r.node.has("axis") && rank_b >= 0 && rank_a >= 0 &&
      axis >= 0 && axis + rank_b < rank_a) {
    std::vector<int64_t> axes;
    for (int64_t i = rank_b; i < rank_a - axis; ++i) axes.push_back(i);
    const ValueId list = r.constant("axes", Tensor::vector_i64(axes));
    OCTAVO_ASSIGN(r.node.inputs[1], r.add(OpKind::kUnsqueeze, {r.input(1), list}));
  }
  for (const char* name : {"axis", "broadcast"}) r.node.unset(name);
  return {};
}

// Before version 7 a vector of slopes was per channel.
Status prelu_6(Rewrite& r) {
  const int rank = r.builder.rank(r.input(0));
  const TensorInfo* slope = r.info(r.input(1));
  if (slope == nullptr || slope->shape.rank() != 1 || slope->shape[0] == 1 || rank <= 2) return {};
  std::vector<int64_t> axes;
  for (int i = 1; i < rank - 1; ++i) axes.push_back(i);
  const ValueId list = r.constant("axes", Tensor::vector_i64(axes));
  OCTAVO_ASSIGN(r.node.inputs[1], r.add(OpKind::kUnsqueeze, {r.input(1), list}));
  return {};
}

Status gemm_6(Rewrite& r) {
  r.node.unset("broadcast");
  return {};
}

Status recurrent_6(Rewrite& r) {
  r.node.unset("output_sequence");
  return {};
}

Status scan_8(Rewrite&) {
  return fail(
      ErrorCode::kUnsupportedOp,
      "Scan of operator set 8 is not supported; convert the model to operator set 9 or newer");
}

constexpr int64_t kAlways = 1 << 20;

constexpr RewriteRule kRules[] = {
    {"Add", 1, 7, legacy_broadcast},
    {"And", 1, 7, legacy_broadcast},
    {"BatchNormalization", 1, 14, batch_normalization},
    {"Cast", 1, 6, cast_1},
    {"Clip", 1, 11, clip},
    {"Concat", 1, 4, concat_1},
    {"DFT", 17, 20, dft_17},
    {"Div", 1, 7, legacy_broadcast},
    {"Dropout", 1, 12, dropout},
    {"Equal", 1, 7, legacy_broadcast},
    {"GRU", 1, 7, recurrent_6},
    {"Gemm", 1, 7, gemm_6},
    {"Greater", 1, 7, legacy_broadcast},
    {"GridSample", 16, 20, grid_sample_16},
    {"GroupNormalization", 18, 21, group_normalization_18},
    {"Hardmax", 1, 13, softmax},
    {"LSTM", 1, 7, recurrent_6},
    {"Less", 1, 7, legacy_broadcast},
    {"LogSoftmax", 1, 13, softmax},
    {"Mul", 1, 7, legacy_broadcast},
    {"Or", 1, 7, legacy_broadcast},
    {"PRelu", 1, 7, prelu_6},
    {"Pad", 1, 11, pad},
    {"Pow", 1, 7, legacy_broadcast},
    {"RNN", 1, 7, recurrent_6},
    {"ReduceL1", 1, 18, axes_to_input},
    {"ReduceL2", 1, 18, axes_to_input},
    {"ReduceLogSum", 1, 18, axes_to_input},
    {"ReduceLogSumExp", 1, 18, axes_to_input},
    {"ReduceMax", 1, 18, axes_to_input},
    {"ReduceMean", 1, 18, axes_to_input},
    {"ReduceMin", 1, 18, axes_to_input},
    {"ReduceProd", 1, 18, axes_to_input},
    {"ReduceSum", 1, 13, axes_to_input},
    {"ReduceSumSquare", 1, 18, axes_to_input},
    {"Reshape", 1, 5, reshape_1},
    {"Resize", 10, 11, resize_10},
    {"Resize", 11, kAlways, resize_11},
    {"RoiAlign", 10, 16, roi_align_10},
    {"Scan", 1, 9, scan_8},
    {"Scatter", 9, 11, scatter},
    {"Slice", 1, 10, slice},
    {"Softmax", 1, 13, softmax},
    {"Split", 1, 18, split},
    {"Squeeze", 1, 13, axes_to_input},
    {"Sub", 1, 7, legacy_broadcast},
    {"TopK", 1, 10, top_k_1},
    {"Unsqueeze", 1, 13, axes_to_input},
    {"Upsample", 7, 10, resize_10},
    {"Xor", 1, 7, legacy_broadcast},
};

const RewriteRule* find_rule(std::span<const RewriteRule> rules, std::string_view op,
                             int64_t version) {
  const auto rule = std::ranges::find_if(rules, [&](const RewriteRule& r) {
    return op == r.op && version >= r.since && version < r.until;
  });
  return rule == rules.end() ? nullptr : &*rule;
}

const RewriteRule* find_rule(std::string_view domain, std::string_view op, int64_t version) {
  if (domain == "com.microsoft") return find_rule(microsoft_rules(), op, version);
  if (!domain.empty()) return nullptr;
  const RewriteRule* rule = find_rule(onnx_rules(), op, version);
  return rule != nullptr ? rule : find_rule(quantized_rules(), op, version);
}

}  // namespace

std::span<const RewriteRule> onnx_rules() { return kRules; }

bool has_rewrite(std::string_view domain, std::string_view op, int64_t version) {
  return find_rule(domain, op, version) != nullptr;
}

Status normalize(Rewrite& rewrite) {
  rewrite.node.unset("consumed_inputs");  // of operator sets before 6
  const RewriteRule* rule = find_rule(rewrite.domain, rewrite.op, rewrite.version);
  return rule == nullptr ? Status() : rule->rewrite(rewrite);
}

}  // namespace octavo::onnx_io
