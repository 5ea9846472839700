// One row per operator. Everything Octavo knows about an operator is in its row: import and export
// of attributes, the compact file, dumps and equality (visit `fields`), shape inference and
// constant folding (`infer`, `reference`), execution (a row of the kernel table by dtypes, else
// `reference`), layout planning (`layout`) and quantization (`quant`). Rows are in
// runtime/ops/<family>.cc.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/graph.h"
#include "runtime/parallel.h"

namespace octavo {

enum class FieldType : uint8_t { kInt, kFloat, kString, kInts, kFloats, kStrings, kTensor, kGraph };

/// One attribute of an operator, under its ONNX name.
struct FieldDef {
  const char* name;
  FieldType type;
  int64_t int_default = 0;
  float float_default = 0;
  const char* string_default = "";
  bool required = false;
  bool internal = false;  // ours: expanded away when a model is exported to ONNX
  bool repeated = false;  // kInts: absent stands for a list whose elements are all int_default
};
// Builders, so that a row reads: {int_field("group", 1), ints_field("strides")}.
constexpr FieldDef int_field(const char* name, int64_t value = 0) {
  return {name, FieldType::kInt, value};
}
constexpr FieldDef float_field(const char* name, float value = 0) {
  return {name, FieldType::kFloat, 0, value};
}
constexpr FieldDef string_field(const char* name, const char* value = "") {
  return {name, FieldType::kString, 0, 0, value};
}
constexpr FieldDef ints_field(const char* name) { return {name, FieldType::kInts}; }
constexpr FieldDef ints_field(const char* name, int64_t each) {
  FieldDef field{name, FieldType::kInts, each};
  field.repeated = true;
  return field;
}
constexpr FieldDef floats_field(const char* name) { return {name, FieldType::kFloats}; }
constexpr FieldDef strings_field(const char* name) { return {name, FieldType::kStrings}; }
constexpr FieldDef tensor_field(const char* name) { return {name, FieldType::kTensor}; }
constexpr FieldDef graph_field(const char* name) { return {name, FieldType::kGraph}; }
constexpr FieldDef required(FieldDef field) {
  field.required = true;
  return field;
}
constexpr FieldDef internal_field(FieldDef field) {
  field.internal = true;
  return field;
}

/// What is known of a value before the graph runs.
struct TensorInfo {
  DType dtype = DType::kUndefined;
  Shape shape = Shape::unknown();
  Tensor constant = {};  // present() if the elements are known
  std::shared_ptr<const QuantParams> quant = nullptr;
};

/// Given to an `infer` function: reads inputs, fills outputs' dtype and (as far as known) shape.
/// May also set outputs' `constant` where inputs' shapes alone decide it (Shape, Size).
class InferContext {
 public:
  InferContext(const Node& node, std::span<const TensorInfo* const> inputs,
               std::span<TensorInfo> outputs)
      : node(node), inputs_(inputs), outputs_(outputs) {}

  const Node& node;

  size_t input_count() const { return inputs_.size(); }
  size_t output_count() const { return outputs_.size(); }
  bool has_input(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  const TensorInfo& input(size_t i) const { return *inputs_[i]; }
  const Shape& shape(size_t i) const { return inputs_[i]->shape; }
  DType dtype(size_t i) const { return inputs_[i]->dtype; }
  /// The elements of input i if they are known, else nullptr.
  const Tensor* constant(size_t i) const {
    return has_input(i) && inputs_[i]->constant.present() ? &inputs_[i]->constant : nullptr;
  }
  /// True if every input that is present has a known rank.
  bool ranks_known() const {
    for (const TensorInfo* info : inputs_) {
      if (info != nullptr && !info->shape.has_rank()) return false;
    }
    return true;
  }
  TensorInfo& output(size_t i) { return outputs_[i]; }
  void set_output(size_t i, DType dtype, const Shape& shape = Shape::unknown()) {
    if (i >= outputs_.size()) return;  // an optional output that nobody wants
    outputs_[i].dtype = dtype;
    outputs_[i].shape = shape;
  }

 private:
  std::span<const TensorInfo* const> inputs_;
  std::span<TensorInfo> outputs_;
};
using InferFn = Status (*)(InferContext&);

/// Runs the bodies of If, Loop and Scan; the plan provides it.
class GraphRunner {
 public:
  virtual ~GraphRunner() = default;
  virtual Result<std::vector<Tensor>> run(const Graph& body,
                                          std::span<const TensorView> inputs) = 0;
};

/// Given to a `reference` function. Views have plain layout unless the op's LayoutRule is
/// kAgnostic, in which case all non-constant views of rank >= 3 share one layout.
class KernelContext {
 public:
  using Allocate =
      std::function<Result<TensorView>(size_t output, DType dtype, const Shape& shape)>;

  const Node& node;
  std::span<const TensorView> inputs;  // absent optional inputs: !present()
  std::span<TensorView> outputs;       // data == nullptr where the shape is not known beforehand
  ThreadPool* pool = nullptr;          // nullptr: one thread
  GraphRunner* runner = nullptr;
  Allocate allocate = {};

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].present(); }
  bool has_output(size_t i) const { return i < node.outputs.size() && node.outputs[i] != kNoValue; }
  const TensorView& in(size_t i) const { return inputs[i]; }
  /// Output i, whose shape inference has settled.
  TensorView& out(size_t i) { return outputs[i]; }
  /// Output i with a shape found while running (NonZero, Loop, ...); also right if it was known.
  Result<TensorView> make_output(size_t i, DType dtype, const Shape& shape);
};
using ReferenceFn = Status (*)(KernelContext&);

/// How an operator takes part in quantization: data, interpreted by core/quantization.
enum class QuantPolicy : uint8_t {
  kFloatOnly,   // inputs and outputs stay float
  kCompute,     // int8 x int8 -> int32 accumulator -> requantize (Conv, MatMul, Gemm)
  kRequantize,  // inputs and output have scales of their own (Add, Mul, Concat, AveragePool, ...)
  kSameScale,   // moves input 0's integers: output has input 0's parameters (MaxPool, Reshape, ...)
  kTable,       // unary function, a 256-entry table (Sigmoid, Tanh, ...)
};
struct QuantRule {
  QuantPolicy policy = QuantPolicy::kFloatOnly;
  int8_t weight_input = -1;  // kCompute: which input holds the weights if it is constant
  int8_t weight_axis = 0;    // output channel axis of the weights (negative: from the back)
  int8_t bias_input = -1;    // kCompute: int32, scale s_input * s_weight
  float fixed_scale = 0;     // > 0: output range is fixed by mathematics: [0, 256 * fixed_scale)
                             // or, if fixed_signed, [-128 * fixed_scale, 128 * fixed_scale)
  bool fixed_signed = false;
  int8_t data_inputs = 0;  // kRequantize: how many leading inputs are quantized; 0: all floats
};

/// How an operator takes part in mixed precision (bf16, f16): data, interpreted by
/// core/quantization/mixed_precision.cc. Whatever the values' type, operators compute in f32.
enum class MixedPolicy : uint8_t {
  kDeny,   // its values need f32: long sums, exp and log, recurrences
  kAllow,  // always converted: products, which hardware does in half precision
  kInfer,  // converted where its inputs are half precision already
};
struct MixedRule {
  MixedPolicy policy = MixedPolicy::kDeny;
  int8_t data_inputs = 0;  // how many leading inputs are converted; 0: all floats
};
inline constexpr MixedRule kAllowHalf{.policy = MixedPolicy::kAllow};
inline constexpr MixedRule kInferHalf{.policy = MixedPolicy::kInfer};

/// In which layouts an operator's reference function works on activations of rank >= 3.
enum class LayoutRule : uint8_t {
  kPlain,     // plain only
  kAgnostic,  // either, if all its non-constant tensors have the same one and the same rank; uses
              // physical_shape() and physical_axis() where positions matter
};

enum OpFlags : uint32_t {
  kNoFlags = 0,
  kAlias = 1,              // output 0 has input 0's bytes under another shape (Reshape, Identity)
  kInPlace = 2,            // output 0 may overwrite input 0 (elementwise, same dtype and shape)
  kNondeterministic = 4,   // must not be folded
  kHasBody = 8,            // holds graphs as attributes
  kIntegerReference = 16,  // `reference` works on quantized values itself
};

struct OpDef {
  OpKind kind;
  const char* name;                       // ONNX's
  const char* domain = "";                // "" is ai.onnx
  int8_t min_inputs = 1, max_inputs = 1;  // max -1: any number
  int8_t min_outputs = 1, max_outputs = 1;
  std::span<const FieldDef> fields = {};
  InferFn infer = nullptr;
  ReferenceFn reference = nullptr;
  QuantRule quant = {};
  MixedRule mixed = {};
  LayoutRule layout = LayoutRule::kPlain;
  uint32_t flags = kNoFlags;
};

/// The row of an operator; nullptr if it has none (yet).
const OpDef* find_op(OpKind kind);
const OpDef* find_op(std::string_view domain, std::string_view name);
std::span<const OpDef* const> all_ops();
std::string_view op_name(OpKind kind);
const FieldDef* find_field(const OpDef& op, std::string_view name);
/// The attribute says what its absence would say.
bool is_default(const FieldDef& field, const AttributeValue& value);

}  // namespace octavo
