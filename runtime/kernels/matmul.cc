// MatMul and Gemm through the packed matrix product (runtime/kernels/gemm.h). Constant right-hand
// sides are packed when the plan is made, computed ones (attention) at each run.

#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/fixed_order.h"
#include "runtime/kernels/gemm.h"
#include "runtime/ops/matrix.h"

namespace octavo::kernels {
namespace {

using ops::MatMulDims;

// Both operators: batches of rows x depth times depth x columns.
struct Product {
  MatMulDims dims;
  bool transposed_b = false;  // matrices of B lie as [columns][depth]
  float alpha = 1, beta = 1;
};

std::optional<Product> product_of(const PlanGraph& graph, const Node& node) {
  const Shape& a = graph.info(node.input(0)).shape;
  const Shape& b = graph.info(node.input(1)).shape;
  Product product;
  Shape b_matrix = b;
  if (node.kind == OpKind::kGemm) {
    if (a.rank() != 2 || b.rank() != 2 || node.get_int("transA") != 0) return {};
    product.transposed_b = node.get_int("transB") != 0;
    if (product.transposed_b) b_matrix = Shape{b[1], b[0]};
    product.alpha = node.get_float("alpha");
    product.beta = node.get_float("beta");
  }
  auto dims = ops::matmul_dims(a, b_matrix);
  if (!dims || dims->output.elements() == 0 || dims->k == 0) return {};
  product.dims = *dims;
  if (!activation_bounds(node)) return {};
  if (const ValueId bias = node.input(2); bias != kNoValue) {
    const Shape& shape = graph.info(bias).shape;
    const bool per_column =
        shape.elements() == 1 || (shape.elements() == dims->n && shape.back() == dims->n);
    if (!graph.is_constant(bias) || !per_column) return {};
  }
  return product;
}

bool is_f32_product(const PlanGraph& graph, const Node& node) {
  return is_f32(graph, node.input(0)) && is_f32(graph, node.input(1)) &&
         is_f32(graph, node.output(0)) &&
         (node.input(2) == kNoValue || is_f32(graph, node.input(2))) &&
         product_of(graph, node).has_value();
}

// The axis of B along which output channels lie.
int channel_axis(const PlanGraph& graph, const Node& node, const Product& product) {
  return product.transposed_b ? 0 : graph.info(node.input(1)).shape.rank() - 1;
}

bool is_int8_product(const PlanGraph& graph, const Node& node) {
  const auto product = product_of(graph, node);
  const ValueId y = node.output(0);
  if (!product || graph.info(node.input(1)).shape.rank() < 2 || product->alpha != 1 ||
      product->beta != 1 || int8_params(graph, node.input(0)) == nullptr ||
      int8_input() == Int8Input::kNone || (int8_params(graph, y) == nullptr && !is_f32(graph, y))) {
    return false;
  }
  if (graph.is_constant(node.input(1))) {
    return int8_weights(graph, node.input(1), channel_axis(graph, node, *product)).has_value();
  }
  const QuantParams* b = int8_params(graph, node.input(1));
  // -zero_point must fit in int8, after the flip of unsigned values.
  const bool is_unsigned = graph.info(node.input(1)).dtype == DType::kU8;
  return b != nullptr && b->zero_point[0] != (is_unsigned ? 0 : -128);
}

class MatMulStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_f32(const PlanGraph& graph,
                                                                const Node& node, Layout) {
    return create_f32(graph, node, gemm_target());
  }
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_f32(const PlanGraph& graph,
                                                                const Node& node,
                                                                const GemmTarget& target) {
    std::unique_ptr<MatMulStep> step(
        new MatMulStep(graph, node, *product_of(graph, node), target, /*form=*/{}));
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    step->call_.lo = bounds.lo;
    step->call_.hi = bounds.hi;
    const TensorView b = step->constant(1), bias = step->constant(2);
    for (size_t i = 0; i < step->packed_.size(); ++i) {
      PackedWeights& packed = step->packed_[i];
      if (b.present())
        step->pack(packed, b.as<const float>() + static_cast<int64_t>(i) * step->b_elements());
      if (!bias.present()) continue;
      for_each_column(packed, [&](int64_t position, int64_t column) {
        packed.bias[static_cast<size_t>(position)] =
            step->product_.beta * bias.as<const float>()[bias.elements() == 1 ? 0 : column];
      });
    }
    return step;
  }

  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_int8(const PlanGraph& graph,
                                                                 const Node& node, Layout) {
    const Product product = *product_of(graph, node);
    const TensorInfo& a = graph.info(node.input(0));
    const TensorInfo& b = graph.info(node.input(1));
    const TensorInfo& y = graph.info(node.output(0));
    const Int8Form form(int8_input(), a.dtype, a.quant->zero_point[0]);
    std::unique_ptr<MatMulStep> step(new MatMulStep(graph, node, product, gemm_target(), form));
    step->flip_b_ = b.dtype == DType::kU8;

    std::optional<Int8Weights> weights;
    if (b.constant.present()) {
      weights = int8_weights(graph, node.input(1), channel_axis(graph, node, product));
    } else {
      step->zero_b_ = b.quant->zero_point[0] - (step->flip_b_ ? 128 : 0);
      // Of the second pass, all of which is one value; the first is packed at each run.
      const int8_t none = 0;
      step->pack_strips(step->packed_[0], &none, 0, 0);
    }
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    OCTAVO_ASSIGN(const Requantize requantize,
                  make_requantize(*a.quant, weights ? weights->quant : *b.quant, y.quant.get(),
                                  y.dtype, step->constant(2), product.dims.n, bounds));
    for (size_t i = 0; i < step->packed_.size(); ++i) {
      PackedWeights& packed = step->packed_[i];
      if (weights) {
        step->pack_quantized(packed,
                             weights->data.data() + static_cast<int64_t>(i) * step->b_elements());
      }
      fill_requantize(packed, requantize);
    }
    GemmCall& call = step->call_;
    set_requantize(call, requantize, y.dtype, 2 * product.dims.k);
    return step;
  }

  int64_t scratch_bytes() const override {
    // The last word may begin with the last byte.
    return copies_a() ? a_elements_ * form_->element_bytes() + kWordBytes : 0;
  }

  Status run(const StepContext& context) override {
    const TensorView a = input(context, 0), b = input(context, 1);
    const MatMulDims& dims = product_.dims;
    const auto* from = a.as<const std::byte>();
    if (copies_a()) {
      form_->convert(from, context.scratch, a_elements_);
      from = context.scratch;
    }
    auto* out = context.outputs[0].as<std::byte>();
    GemmCall call = call_;
    const int64_t offsets[] = {0, 0};
    call.a.offsets = offsets;
    call.a.column_step = dims.k * element_bytes_;
    if (is_one_product_) {
      call.rows = dims.m * dims.batch.elements();
      return run_one(call, b, 0, from, out, context.pool);
    }
    call.rows = dims.m;
    for (int64_t i = 0; i < dims.batch.elements(); ++i) {
      const auto [at_a, at_b] = dims.matrices(i);
      OCTAVO_TRY(run_one(call, b, at_b, from + at_a * dims.m * dims.k * element_bytes_,
                         out + i * dims.m * call.c_stride, context.pool));
    }
    return {};
  }

 private:
  // `form`: of an int8 A.
  MatMulStep(const PlanGraph& graph, const Node& node, const Product& product,
             const GemmTarget& target, const std::optional<Int8Form>& form)
      : KernelStep(graph, node),
        product_(product),
        target_(target),
        form_(form),
        element_bytes_(form ? form->element_bytes() : 4) {
    const MatMulDims& dims = product.dims;
    const TensorInfo& b = graph.info(node.input(1));
    a_elements_ = graph.info(node.input(0)).shape.elements();
    const int64_t matrices_b = b.shape.elements() / b_elements();
    is_one_product_ = matrices_b == 1 && a_elements_ == dims.batch.elements() * dims.m * dims.k;
    constant_b_ = b.constant.present();
    packed_.resize(static_cast<size_t>(constant_b_ ? matrices_b : 1));
    const int64_t out_bytes = dtype_bytes(graph.info(node.output(0)).dtype);
    // (b - zero point) of a computed B may not fit in int8: -zero_b * a is summed in a second pass
    // over the same rows of A.
    const bool two_passes = form && !constant_b_ && needs_second_pass(b);
    for (PackedWeights& packed : packed_) {
      packed.columns = dims.n;
      packed.segments = two_passes ? 2 : 1;
      packed.steps = (dims.k * element_bytes_ + kWordBytes - 1) / kWordBytes;
      packed.interleaved = form && out_bytes == 1;
      layout_panels(target_, packed, constant_b_ ? graph.packing : nullptr);
    }
    call_.int8 = form.has_value();
    call_.c_stride = dims.n * out_bytes;
  }

  static bool needs_second_pass(const TensorInfo& b) {
    return b.quant->zero_point[0] != (b.dtype == DType::kU8 ? 128 : 0);
  }
  bool copies_a() const {
    return form_ && (!form_->in_place() || product_.dims.k % kWordBytes != 0);
  }
  int64_t b_elements() const { return product_.dims.k * product_.dims.n; }

  Status run_one(GemmCall& call, const TensorView& b, int64_t at_b, const std::byte* a,
                 std::byte* out, ThreadPool* pool) {
    PackedWeights& packed = packed_[static_cast<size_t>(constant_b_ ? at_b : 0)];
    if (!constant_b_) {
      if (call.int8) {
        pack_quantized(packed, b.as<const int8_t>() + at_b * b_elements());
      } else {
        pack(packed, b.as<const float>() + at_b * b_elements());
      }
    }
    call.b = &packed;
    call.a.base = a;
    call.a.width = call.rows;
    call.c = out;
    run_gemm(target_, call, pool);
    return {};
  }

  void pack(PackedWeights& packed, const float* b) const {
    pack_f32(packed, b, product_.transposed_b, product_.alpha);
  }

  void pack_quantized(PackedWeights& packed, const int8_t* b) const {
    const int64_t k = product_.dims.k;
    if (!constant_b_ && !form_->wide && !product_.transposed_b) {
      pack_matrix(packed, reinterpret_cast<const uint8_t*>(b), k, flip_b_ ? 0x80 : 0);
    } else {
      const bool transposed = product_.transposed_b;
      pack_strips(packed, b, transposed ? k : 1, transposed ? 1 : product_.dims.n);
    }
    fill_start(packed, form_->zero_point);
  }
  // Both passes, from the strips b + column * column_step.
  void pack_strips(PackedWeights& packed, const int8_t* b, int64_t column_step,
                   int64_t inner_step) const {
    const int64_t k = product_.dims.k;
    const int flip = flip_b_ && !constant_b_ ? 0x80 : 0;
    const auto zero = static_cast<int8_t>(-zero_b_ ^ flip);
    const auto at = [&](int64_t segment, int64_t column) {
      return segment == 1 ? WeightStrip<int8_t>{&zero, k, 0}
                          : WeightStrip<int8_t>{b + column * column_step, k, inner_step};
    };
    const auto pack_as = [&]<class T>() {
      if (flip == 0) return pack_columns<T>(packed, k, at);
      pack_columns<T>(packed, k, at,
                      [&](int8_t value) { return static_cast<int8_t>(value ^ flip); });
    };
    form_->wide ? pack_as.template operator()<int16_t>() : pack_as.template operator()<int8_t>();
  }

  Product product_;
  GemmTarget target_;
  std::optional<Int8Form> form_;
  int64_t element_bytes_;  // of A
  GemmCall call_;
  std::vector<PackedWeights> packed_;  // of each matrix of a constant B, or of one at a time
  int64_t a_elements_ = 0;
  bool constant_b_ = false;
  bool is_one_product_ = false;  // all batches multiply the same B
  bool flip_b_ = false;
  int32_t zero_b_ = 0;  // after the flip
};

constexpr ClaimLayout kPlain = ClaimLayout::kPlain;
constexpr KernelDef kKernels[] = {
    {"matmul_int8", OpKind::kMatMul, kPlain, is_int8_product, MatMulStep::create_int8, kExact},
    {"matmul_f32", OpKind::kMatMul, kPlain, is_f32_product, MatMulStep::create_f32},
    {"gemm_int8", OpKind::kGemm, kPlain, is_int8_product, MatMulStep::create_int8, kExact},
    {"gemm_f32", OpKind::kGemm, kPlain, is_f32_product, MatMulStep::create_f32},
};

}  // namespace

std::span<const KernelDef> matmul_kernels() { return kKernels; }

bool matmul_is_f32(const PlanGraph& graph, const Node& node) { return is_f32_product(graph, node); }
[[gnu::cold]] Result<std::unique_ptr<Step>> make_matmul_fixed_order(const PlanGraph& graph,
                                                                    const Node& node, Layout) {
  return MatMulStep::create_f32(graph, node, fixed_order_target());
}

}  // namespace octavo::kernels
