// Dynamic quantization as a stage, in ONNX's own operators, which every runtime has:
//
//   DynamicQuantizeLinear(x) -> q, s, z;  MatMulInteger or ConvInteger(q, W, z, z_W) -> Cast
//   -> Mul(s * s_W) -> Add(bias) -> activation
#include <cmath>
#include <map>

#include "core/config/dynamic_quant_config.h"
#include "core/graph_edit.h"
#include "core/passes/edit_util.h"
#include "core/quantization/annotate.h"
#include "core/quantization/input_scale.h"
#include "core/quantization/params.h"
#include "core/quantization/stage.h"
#include "runtime/ops/common.h"
#include "runtime/requantize.h"

namespace octavo {
namespace {

class DynamicStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input,
                                               const DynamicQuantConfig& config) {
    auto stage = std::make_unique<DynamicStage>();
    stage->input_ = input;
    stage->config_ = config;
    OCTAVO_TRY(check_patterns(*input.graph, stage->config_));
    return stage;
  }

  int passes() const override { return 0; }
  Status observe(const NamedTensors&) override { return {}; }
  Status end_pass() override { return {}; }

  Result<Graph> finish(QuantizeReport& report) override {
    Graph graph = *input_.graph;
    GraphEditor editor(graph);
    const auto count = static_cast<NodeId>(graph.nodes.size());
    for (NodeId id = 0; id < count; ++id) {
      NodeReport& entry = report.nodes.emplace_back();
      entry.name = graph.node(id).name;
      entry.op = std::string(op_name(graph.node(id).kind));
      entry.reason = why_not(editor, id, entry.op);
      if (!entry.reason.empty()) continue;
      const DynamicQuantConfig config = config_.resolve(entry.name, entry.op);
      OCTAVO_TRY(quantize(editor, id, config));
      entry.quantized = true;
      entry.activations = "uint8 dynamic";
      const bool is_conv = entry.op == "Conv";
      entry.weights =
          concat(is_conv ? "uint8" : config.weight_dtype, " ",
                 is_conv && !config.weight_sym ? "per_tensor" : config.weight_granularity);
    }
    editor.prune();
    return graph;
  }

 private:
  std::string why_not(const GraphEditor& editor, NodeId id, const std::string& op) const {
    const Graph& graph = editor.graph();
    const Node& node = graph.node(id);
    if (node.kind != OpKind::kMatMul && node.kind != OpKind::kGemm && node.kind != OpKind::kConv) {
      return "dynamic quantization is for MatMul, Gemm and Conv";
    }
    if (!config_.allows(node.name, op)) return "not in white_list";
    if (config_.resolve(node.name, op).weight_dtype == "fp32") return "weight_dtype is fp32";
    const Value& w = graph.value(node.inputs[1]);
    if (!w.constant.present() || w.dtype != DType::kF32 || w.constant.elements() == 0) {
      return "its weights are not constant";
    }
    if (editor.is_constant(node.inputs[0])) return "its activations are constant";
    if (graph.value(node.inputs[0]).dtype != DType::kF32) return "its input is not f32";
    if (node.kind == OpKind::kConv) {
      return node.inputs.size() > 3 || w.shape.rank() < 3 ? "its form has no integer operator" : "";
    }
    const bool plain = node.kind == OpKind::kMatMul ||
                       (node.get_int("transA") == 0 && node.get_float("alpha") == 1 &&
                        node.get_float("beta") == 1);
    return w.shape.rank() != 2 || !plain ? "its form has no integer operator" : "";
  }

  struct Quantized {
    ValueId q, scale, zero_point;
  };

  // One DynamicQuantizeLinear for all readers of a value, before the first.
  const Quantized& quantized_input(GraphEditor& editor, ValueId x, NodeId reader) {
    const auto found = inputs_.find(x);
    if (found != inputs_.end()) return found->second;
    const std::string name = editor.graph().value(x).name;
    const Shape shape = editor.graph().value(x).shape;
    const Quantized made{editor.add_value(concat(name, "_quantized"), DType::kU8, shape),
                         editor.add_value(concat(name, "_scale"), DType::kF32, Shape{}),
                         editor.add_value(concat(name, "_zero_point"), DType::kU8, Shape{})};
    editor.insert_before(reader, {.kind = OpKind::kDynamicQuantizeLinear,
                                  .inputs = {x},
                                  .outputs = {made.q, made.scale, made.zero_point},
                                  .name = concat(name, "_quantize")});
    return inputs_.emplace(x, made).first->second;
  }

  Status quantize(GraphEditor& editor, NodeId id, const DynamicQuantConfig& config) {
    Graph& graph = editor.graph();
    const Node node = graph.node(id);
    const bool is_conv = node.kind == OpKind::kConv;
    const Value source = graph.value(node.inputs[1]);
    Tensor weights = source.constant;
    if (node.kind == OpKind::kGemm && node.get_int("transB") != 0) {
      OCTAVO_ASSIGN(weights, passes::transposed(weights));
    }
    const int channel_axis = is_conv ? 0 : 1;
    StaticQuantConfig scheme;
    scheme.weight_dtype = is_conv ? "uint8" : config.weight_dtype;
    scheme.weight_sym = config.weight_sym;
    // ConvInteger has one zero point for all weights.
    scheme.weight_granularity =
        is_conv && !config.weight_sym ? "per_tensor" : config.weight_granularity;
    OCTAVO_ASSIGN(const TensorQuant quant, weight_params(weights, channel_axis, scheme));
    OCTAVO_ASSIGN(Tensor integers, quantize_tensor(weights, quant));

    const Quantized x = quantized_input(editor, node.inputs[0], id);
    const std::string name = node.name;
    const Shape out_shape = graph.value(node.outputs[0]).shape;
    const ValueId w = editor.add_constant(concat(source.name, "_quantized"), std::move(integers));
    const bool one_zero = is_conv || quant.params.per_tensor();
    OCTAVO_ASSIGN(Tensor zero, zero_points(quant, one_zero));
    const ValueId zw = editor.add_constant(concat(source.name, "_zero_point"), std::move(zero));

    const auto add = [&](OpKind kind, std::vector<ValueId> inputs, const char* suffix, DType dtype,
                         const Shape& shape, std::vector<Attribute> attributes = {}) {
      const ValueId made = editor.add_value(concat(name, suffix), dtype, shape);
      editor.insert_before(id, {.kind = kind,
                                .inputs = std::move(inputs),
                                .outputs = {made},
                                .attributes = std::move(attributes),
                                .name = concat(name, suffix)});
      return made;
    };
    std::vector<Attribute> attributes;
    if (is_conv) {
      for (const Attribute& a : node.attributes) {
        if (!a.name.starts_with("activation")) attributes.push_back(a);
      }
    }
    const ValueId sums =
        add(is_conv ? OpKind::kConvInteger : OpKind::kMatMulInteger, {x.q, w, x.zero_point, zw},
            "_sums", DType::kI32, out_shape, std::move(attributes));
    ValueId y = add(OpKind::kCast, {sums}, "_cast", DType::kF32, out_shape,
                    {{"to", ops::dtype_to_onnx(DType::kF32)}});
    // Along the output channels: [C, 1, 1] for convolutions, [N] for matrices.
    const auto along_channels = [&](std::vector<float> values) {
      Shape shape;
      if (values.size() > 1) {
        shape = Shape{static_cast<int64_t>(values.size())};
        for (int i = 2; is_conv && i < source.shape.rank(); ++i) shape.push_back(1);
      }
      return Tensor::of<float>(shape, values);
    };
    const Tensor scales = along_channels(quant.params.scale);
    const ValueId ws = editor.add_constant(concat(source.name, "_scale"), scales);
    const ValueId scale = add(OpKind::kMul, {x.scale, ws}, "_scale", DType::kF32, scales.shape());
    y = add(OpKind::kMul, {y, scale}, "_scaled", DType::kF32, out_shape);
    if (const ValueId bias = node.input(2); bias != kNoValue) {
      ValueId added = bias;
      if (is_conv) {
        const Tensor& values = graph.value(bias).constant;
        if (!values.present()) {
          return fail(ErrorCode::kUnsupportedOp, "the bias of '", name, "' is not constant");
        }
        const auto data = values.data<const float>();
        Tensor shaped = along_channels({data.begin(), data.end()});
        added = editor.add_constant(concat(graph.value(bias).name, "_bias"), std::move(shaped));
      }
      y = add(OpKind::kAdd, {y, added}, "_biased", DType::kF32, out_shape);
    }
    if (!node.get_string("activation").empty()) {
      OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
      const auto bound = [&](const char* suffix, float value) {
        return std::isinf(value) ? kNoValue
                                 : editor.add_constant(concat(name, suffix), Tensor::scalar(value));
      };
      std::vector<ValueId> inputs{y, bound("_min", bounds.lo), bound("_max", bounds.hi)};
      while (inputs.back() == kNoValue) inputs.pop_back();
      y = add(OpKind::kClip, std::move(inputs), "_active", DType::kF32, out_shape);
    }
    // The last node takes over the output's name.
    const ValueId output = node.outputs[0];
    const NodeId last = editor.producer(y);
    editor.erase(id);
    editor.set_output(last, 0, output);
    return {};
  }

  static Result<Tensor> zero_points(const TensorQuant& quant, bool one) {
    const auto& values = quant.params.zero_point;
    const Shape shape = one ? Shape{} : Shape{static_cast<int64_t>(values.size())};
    OCTAVO_ASSIGN(Tensor out, Tensor::create(quant.dtype, shape));
    auto* bytes = static_cast<uint8_t*>(out.raw());
    for (int64_t i = 0; i < out.elements(); ++i) {
      bytes[i] = static_cast<uint8_t>(values[static_cast<size_t>(i)]);
    }
    return out;
  }

  StageInput input_;
  DynamicQuantConfig config_;
  std::map<ValueId, Quantized> inputs_;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const DynamicQuantConfig& config) {
  return DynamicStage::create(input, config);
}

}  // namespace octavo
