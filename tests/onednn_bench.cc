// oneDNN's primitives against the portable kernels, operator by operator, one thread: what
// native/onednn/claim_rule.cc records. Both contestants take turns; the least time of each counts.
//   build/native/tests/octavo_onednn_bench [PART OF A NAME]

#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "kernel_case.h"
#include "native/onednn/primitive_step.h"
#include "native/onednn/thread_scope.h"

namespace octavo::testing {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using Tag = memory::format_tag;
using Type = memory::data_type;
using Dims = memory::dims;
constexpr auto kInference = dnnl::prop_kind::forward_inference;

const dnnl::engine& engine() { return onednn::cpu_device()->engine(); }

// A primitive with memory for every argument that it has, filled with numbers near 1.
struct Primitive {
  dnnl::primitive primitive;
  std::string implementation;
  std::unordered_map<int, memory> arguments;
  dnnl::stream stream{engine()};

  void add(int argument, const memory::desc& desc) {
    if (desc.get_size() == 0) return;
    memory filled(desc, engine());
    auto* bytes = static_cast<std::byte*>(filled.get_data_handle());
    const bool is_float = desc.get_data_type() == Type::f32;
    const float one = 1;
    std::memset(bytes, 1, desc.get_size());
    for (size_t i = 0; is_float && i + 4 <= desc.get_size(); i += 4) {
      std::memcpy(bytes + i, &one, 4);
    }
    arguments[argument] = filled;
  }
  void run() {
    primitive.execute(stream, arguments);
    stream.wait();
  }
};

template <class P>
Primitive primitive_of(const typename P::primitive_desc& description) {
  Primitive made{P(description), description.impl_info_str(), {}};
  for (const int argument :
       {DNNL_ARG_SRC_0, DNNL_ARG_SRC_1, DNNL_ARG_SRC_2, DNNL_ARG_WEIGHTS_0, DNNL_ARG_WEIGHTS_1,
        DNNL_ARG_BIAS, DNNL_ARG_DST_0, DNNL_ARG_DST_1, DNNL_ARG_DST_2, DNNL_ARG_SCALE,
        DNNL_ARG_SHIFT, DNNL_ARG_MULTIPLE_SRC, DNNL_ARG_MULTIPLE_SRC + 1, DNNL_ARG_MULTIPLE_SRC + 2,
        DNNL_ARG_MULTIPLE_SRC + 3}) {
    made.add(argument, description.query_md(dnnl::query::exec_arg_md, argument));
  }
  return made;
}

struct Case {
  std::string name;
  KernelCase portable{1};
  Layout layout = Layout::kPlain;
  std::function<Primitive()> onednn;
  std::function<void()> instead = {};  // of the portable backend's step
};
std::vector<Case> cases;

Case& add_case(std::string name, Layout layout = Layout::kPlain) {
  cases.push_back({.name = std::move(name), .layout = layout});
  return cases.back();
}

Dims dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }
memory::desc desc(const Shape& shape, DType dtype = DType::kF32, Layout layout = Layout::kPlain) {
  return onednn::desc_of(shape, dtype, layout);
}
memory::desc any(const Shape& shape, DType dtype = DType::kF32) {
  return {dims_of(shape), onednn::data_type_of(dtype), Tag::any};
}
std::string label(const char* op, const Shape& shape, DType dtype, std::string rest = "") {
  return concat(op, " ", dtype_name(dtype), " ", shape.to_string(), rest.empty() ? "" : " ", rest);
}
ValueId add_input(KernelCase& c, const Shape& shape, DType dtype) {
  return c.add_input(dtype, shape, dtype == DType::kF32 ? nullptr : c.quant(0.02f, 0));
}
ValueId add_output(KernelCase& c, DType dtype, float scale = 0.02f) {
  return c.add_output(dtype, dtype == DType::kF32 ? nullptr : c.quant(scale, 0));
}
ValueId add_weights(KernelCase& c, const Shape& shape, DType dtype) {
  if (dtype == DType::kF32) return c.add_constant(c.random(dtype, shape));
  return c.add_constant(c.random(DType::kI8, shape), c.quant(0.01f, 0));
}
ValueId add_ints(KernelCase& c, const std::vector<int64_t>& values) {
  return c.add_constant(Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values));
}

// The output's scale, which 8-bit results of compute operators have on top of their inputs'.
dnnl::primitive_attr output_scale(DType dtype) {
  dnnl::primitive_attr attributes;
  if (dtype != DType::kF32) attributes.set_scales_mask(DNNL_ARG_WEIGHTS, 0);
  return attributes;
}
void add_scale(Primitive& primitive, DType dtype) {
  if (dtype == DType::kF32) return;
  primitive.add(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, {{1}, Type::f32, Tag::a});
}

void add_conv_transpose(DType dtype, int64_t size, int64_t in, int64_t out, int64_t kernel,
                        int64_t stride, int64_t pad) {
  const DType weights = dtype == DType::kF32 ? dtype : DType::kI8;
  const int64_t large = (size - 1) * stride + kernel - 2 * pad;
  const Shape x{1, in, size, size}, w{in, out, kernel, kernel}, y{1, out, large, large};
  Case& c = add_case(label("conv_transpose", x, dtype, concat(out, " k", kernel, " s", stride)),
                     Layout::kChannelsLast);
  const std::vector inputs = {add_input(c.portable, x, dtype), add_weights(c.portable, w, dtype)};
  Node& node = c.portable.add_node(OpKind::kConvTranspose, inputs, {add_output(c.portable, dtype)});
  node.set("strides", std::vector<int64_t>{stride, stride});
  node.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
  c.onednn = [=] {
    Primitive made = primitive_of<dnnl::deconvolution_forward>(
        {engine(), kInference, algorithm::deconvolution_direct,
         desc(x, dtype, Layout::kChannelsLast), any({out, in, kernel, kernel}, weights),
         memory::desc(), desc(y, dtype, Layout::kChannelsLast), Dims{stride, stride}, Dims{0, 0},
         Dims{pad, pad}, Dims{pad, pad}, output_scale(dtype)});
    add_scale(made, dtype);
    return made;
  };
}

// `constant`: the weights, packed beforehand.
void add_matmul(DType dtype, const Shape& a, const Shape& b, bool constant) {
  const DType weights = dtype == DType::kF32 ? dtype : DType::kI8;
  Shape y = a;
  y[a.rank() - 1] = b.back();
  Case& c =
      add_case(label("matmul", a, dtype, concat("x ", b.to_string(), constant ? " constant" : "")));
  const ValueId x = add_input(c.portable, a, dtype);
  const ValueId w =
      constant ? add_weights(c.portable, b, dtype) : add_input(c.portable, b, weights);
  c.portable.add_node(OpKind::kMatMul, {x, w}, {add_output(c.portable, dtype)});
  c.onednn = [=] {
    Primitive made = primitive_of<dnnl::matmul>({engine(), desc(a, dtype),
                                                 constant ? any(b, weights) : desc(b, weights),
                                                 desc(y, dtype), output_scale(dtype)});
    add_scale(made, dtype);
    return made;
  };
}

void add_inner_product(DType dtype, int64_t rows, int64_t depth, int64_t columns,
                       bool transposed_a) {
  const DType weights = dtype == DType::kF32 ? dtype : DType::kI8;
  const Shape a = transposed_a ? Shape{depth, rows} : Shape{rows, depth};
  Case& c = add_case(
      label(transposed_a ? "gemm transA" : "inner_product", a, dtype, concat("to ", columns)));
  const std::vector inputs = {add_input(c.portable, a, dtype),
                              add_weights(c.portable, {columns, depth}, dtype)};
  Node& node = c.portable.add_node(OpKind::kGemm, inputs, {add_output(c.portable, dtype)});
  node.set("transB", int64_t{1});
  node.set("transA", int64_t{transposed_a});
  c.onednn = [=] {
    Primitive made;
    if (transposed_a) {
      const memory::desc src({rows, depth}, onednn::data_type_of(dtype), Tag::ba);
      made = primitive_of<dnnl::matmul>({engine(), src, any({depth, columns}, weights),
                                         desc({rows, columns}, dtype), output_scale(dtype)});
    } else {
      made = primitive_of<dnnl::inner_product_forward>(
          {engine(), kInference, desc(a, dtype), any({columns, depth}, weights),
           desc({rows, columns}, dtype), output_scale(dtype)});
    }
    add_scale(made, dtype);
    return made;
  };
}

void add_pool(OpKind kind, DType dtype, const Shape& x, int64_t kernel, int64_t stride,
              int64_t pad) {
  const int64_t small = (x[2] + 2 * pad - kernel) / stride + 1;
  const Shape y{x[0], x[1], small, small};
  const bool max = kind == OpKind::kMaxPool;
  Case& c = add_case(
      label(max ? "max_pool" : "average_pool", x, dtype, concat("k", kernel, " s", stride)),
      Layout::kChannelsLast);
  Node& node =
      c.portable.add_node(kind, {add_input(c.portable, x, dtype)}, {add_output(c.portable, dtype)});
  node.set("kernel_shape", std::vector<int64_t>{kernel, kernel});
  node.set("strides", std::vector<int64_t>{stride, stride});
  node.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
  c.onednn = [=] {
    return primitive_of<dnnl::pooling_forward>(
        {engine(), kInference,
         max ? algorithm::pooling_max : algorithm::pooling_avg_exclude_padding,
         desc(x, dtype, Layout::kChannelsLast), desc(y, dtype, Layout::kChannelsLast),
         Dims{stride, stride}, Dims{kernel, kernel}, Dims{0, 0}, Dims{pad, pad}, Dims{pad, pad}});
  };
}

void add_eltwise(OpKind kind, algorithm function, float alpha, float beta, const Shape& x) {
  Case& c = add_case(label(std::string(op_name(kind)).c_str(), x, DType::kF32));
  c.portable.add_node(kind, {add_input(c.portable, x, DType::kF32)},
                      {add_output(c.portable, DType::kF32)});
  c.onednn = [=] {
    return primitive_of<dnnl::eltwise_forward>(
        {engine(), kInference, function, desc(x), desc(x), alpha, beta});
  };
}

void add_binary(OpKind kind, DType dtype, const Shape& x) {
  Case& c = add_case(label(std::string(op_name(kind)).c_str(), x, dtype));
  c.portable.add_node(kind, {add_input(c.portable, x, dtype), add_input(c.portable, x, dtype)},
                      {add_output(c.portable, dtype, 0.04f)});
  c.onednn = [=] {
    dnnl::primitive_attr attributes;
    const int scaled[] = {DNNL_ARG_SRC_0, DNNL_ARG_SRC_1};
    for (const int argument : scaled) {
      if (dtype != DType::kF32) attributes.set_scales_mask(argument, 0);
    }
    Primitive made = primitive_of<dnnl::binary>(
        {engine(), kind == OpKind::kAdd ? algorithm::binary_add : algorithm::binary_mul,
         desc(x, dtype), desc(x, dtype), desc(x, dtype), attributes});
    for (const int argument : scaled) {
      if (dtype != DType::kF32) {
        made.add(DNNL_ARG_ATTR_SCALES | argument, {{1}, Type::f32, Tag::a});
      }
    }
    return made;
  };
}

void add_softmax(const Shape& x, int axis, Layout layout) {
  Case& c = add_case(label("softmax", x, DType::kF32, concat("axis ", axis)), layout);
  c.portable
      .add_node(OpKind::kSoftmax, {add_input(c.portable, x, DType::kF32)},
                {add_output(c.portable, DType::kF32)})
      .set("axis", int64_t{axis});
  c.onednn = [=] {
    return primitive_of<dnnl::softmax_forward>({engine(), kInference, algorithm::softmax_accurate,
                                                desc(x, DType::kF32, layout),
                                                desc(x, DType::kF32, layout), axis});
  };
}

void add_normalization(OpKind kind, const Shape& x, int64_t groups) {
  const bool layer = kind == OpKind::kLayerNormalization;
  const int64_t factors = layer ? x.back() : x[1];
  Case& c = add_case(label(std::string(op_name(kind)).c_str(), x, DType::kF32,
                           groups > 0 ? concat("groups ", groups) : ""));
  std::vector inputs = {add_input(c.portable, x, DType::kF32)};
  for (int i = 0; i < 2; ++i) {
    inputs.push_back(c.portable.add_constant(c.portable.random(DType::kF32, {factors})));
  }
  Node& node = c.portable.add_node(kind, inputs, {add_output(c.portable, DType::kF32)});
  if (kind == OpKind::kGroupNormalization) node.set("num_groups", groups);
  const auto flags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
  c.onednn = [=] {
    if (layer) {
      return primitive_of<dnnl::layer_normalization_forward>(
          {engine(), kInference, desc(x), desc(x), 1e-5f, flags});
    }
    return primitive_of<dnnl::group_normalization_forward>(
        {engine(), kInference, desc(x), desc(x), groups > 0 ? groups : x[1], 1e-5f, flags});
  };
}

void add_reduction(OpKind kind, algorithm fold, const Shape& x, const std::vector<int64_t>& axes,
                   Layout layout) {
  Shape y = x;
  std::string along;
  for (const int64_t axis : axes) {
    y[static_cast<int>(axis)] = 1;
    along += concat(along.empty() ? "along " : ",", axis);
  }
  Case& c = add_case(label(std::string(op_name(kind)).c_str(), x, DType::kF32, along), layout);
  const ValueId in = add_input(c.portable, x, DType::kF32);
  c.portable.add_node(kind, {in, add_ints(c.portable, axes)},
                      {add_output(c.portable, DType::kF32)});
  c.onednn = [=] {
    return primitive_of<dnnl::reduction>(
        {engine(), fold, desc(x, DType::kF32, layout), desc(y, DType::kF32, layout), 0.0f, 0.0f});
  };
}

void add_resize(DType dtype, const Shape& x, int64_t size, bool linear) {
  const Shape y{x[0], x[1], size, size};
  Case& c =
      add_case(label(linear ? "resize linear" : "resize nearest", x, dtype, concat("to ", size)),
               Layout::kChannelsLast);
  const ValueId in = add_input(c.portable, x, dtype);
  const ValueId sizes = add_ints(c.portable, {y.begin(), y.end()});
  Node& node = c.portable.add_node(OpKind::kResize, {in, kNoValue, kNoValue, sizes}, {kNoValue});
  // An output of the graph would be wanted in plain layout.
  const ValueId out = add_output(c.portable, dtype);
  node.outputs = {out};
  c.portable.graph.outputs.clear();
  node.set("mode", std::string(linear ? "linear" : "nearest"));
  c.onednn = [=] {
    return primitive_of<dnnl::resampling_forward>(
        {engine(), kInference,
         linear ? algorithm::resampling_linear : algorithm::resampling_nearest,
         desc(x, dtype, Layout::kChannelsLast), desc(y, dtype, Layout::kChannelsLast)});
  };
}

void add_recurrent(OpKind kind, int64_t steps, int64_t batch, int64_t in, int64_t hidden) {
  const bool lstm = kind == OpKind::kLSTM;
  const int64_t gates = lstm ? 4 : 3;
  const Shape x{steps, batch, in};
  Case& c = add_case(
      label(std::string(op_name(kind)).c_str(), x, DType::kF32, concat("hidden ", hidden)));
  KernelCase& p = c.portable;
  const std::vector inputs = {add_input(p, x, DType::kF32),
                              p.add_constant(p.random(DType::kF32, {1, gates * hidden, in})),
                              p.add_constant(p.random(DType::kF32, {1, gates * hidden, hidden})),
                              p.add_constant(p.random(DType::kF32, {1, 2 * gates * hidden}))};
  Node& node = p.add_node(kind, inputs, {add_output(p, DType::kF32)});
  node.set("hidden_size", hidden);
  if (!lstm) node.set("linear_before_reset", int64_t{1});
  c.onednn = [=] {
    const auto direction = dnnl::rnn_direction::unidirectional_left2right;
    const memory::desc src({steps, batch, in}, Type::f32, Tag::tnc),
        dst({steps, batch, hidden}, Type::f32, Tag::tnc), none;
    const memory::desc layer({1, 1, in, gates, hidden}, Type::f32, Tag::any),
        iter({1, 1, hidden, gates, hidden}, Type::f32, Tag::any);
    if (lstm) {
      return primitive_of<dnnl::lstm_forward>(
          {engine(), kInference, direction, src, none, none, layer, iter,
           memory::desc({1, 1, 4, hidden}, Type::f32, Tag::ldgo), dst, none, none});
    }
    return primitive_of<dnnl::lbr_gru_forward>(
        {engine(), kInference, direction, src, none, layer, iter,
         memory::desc({1, 1, 4, hidden}, Type::f32, Tag::ldgo), dst, none});
  };
}

void add_concat(DType dtype, const Shape& x, int count, Layout layout) {
  Shape y = x;
  y[1] = count * x[1];
  Case& c = add_case(label("concat", x, dtype, concat("x", count)), layout);
  std::vector<ValueId> inputs;
  for (int i = 0; i < count; ++i) inputs.push_back(add_input(c.portable, x, dtype));
  c.portable.add_node(OpKind::kConcat, inputs, {add_output(c.portable, dtype)})
      .set("axis", int64_t{1});
  c.onednn = [=] {
    return primitive_of<dnnl::concat>(
        {engine(), desc(y, dtype, layout), 1,
         std::vector<memory::desc>(static_cast<size_t>(count), desc(x, dtype, layout))});
  };
}

// Between planes and pixels.
void add_reorder(DType dtype, const Shape& x, Layout from, Layout to) {
  Case& c =
      add_case(label(to == Layout::kPlain ? "reorder to planes" : "reorder to pixels", x, dtype));
  c.instead = [=, in = *Tensor::create(dtype, x), out = *Tensor::create(dtype, x)]() mutable {
    TensorView a = in.view(), b = out.view();
    a.layout = from;
    b.layout = to;
    kernels::reorder(a, b, nullptr);
  };
  c.onednn = [=] {
    return primitive_of<dnnl::reorder>(
        {engine(), desc(x, dtype, from), engine(), desc(x, dtype, to)});
  };
}

void add_cases() {
  const DType f32 = DType::kF32, u8 = DType::kU8;
  const Layout nhwc = Layout::kChannelsLast, plain = Layout::kPlain;
  for (const DType type : {f32, u8}) {
    add_conv_transpose(type, 64, 128, 64, 2, 2, 0);
    add_conv_transpose(type, 16, 512, 256, 2, 2, 0);
    add_conv_transpose(type, 8, 256, 128, 4, 2, 1);
    add_conv_transpose(type, 32, 64, 3, 4, 2, 1);
    add_conv_transpose(type, 16, 16, 16, 3, 2, 1);
    add_matmul(type, {12, 128, 64}, {12, 64, 128}, false);
    add_matmul(type, {12, 128, 128}, {12, 128, 64}, false);
    add_matmul(type, {8, 16, 32}, {8, 32, 16}, false);
    add_matmul(type, {4, 256, 64}, {4, 64, 256}, false);
    add_matmul(type, {512, 512}, {512, 512}, false);
    add_matmul(type, {128, 768}, {768, 3072}, true);
    add_matmul(type, {16, 256}, {256, 256}, true);
    add_inner_product(type, 1, 1280, 1000, false);
    add_inner_product(type, 8, 1280, 1000, false);
    add_inner_product(type, 64, 640, 128, false);
    add_inner_product(type, 64, 256, 128, true);
    add_pool(OpKind::kMaxPool, type, {1, 64, 111, 111}, 3, 2, 0);
    add_pool(OpKind::kMaxPool, type, {1, 256, 27, 27}, 3, 2, 0);
    add_pool(OpKind::kMaxPool, type, {1, 128, 13, 13}, 5, 1, 2);
    add_pool(OpKind::kMaxPool, type, {1, 128, 13, 13}, 13, 1, 6);
    add_pool(OpKind::kAveragePool, type, {1, 1280, 7, 7}, 7, 1, 0);
    add_pool(OpKind::kAveragePool, type, {1, 1000, 13, 13}, 13, 1, 0);
    add_pool(OpKind::kAveragePool, type, {1, 64, 32, 32}, 2, 2, 0);
    add_binary(OpKind::kAdd, type, {1, 24, 56, 56});
    add_binary(OpKind::kMul, type, {1, 64, 32, 32});
    add_resize(type, {1, 256, 13, 13}, 26, false);
    add_concat(type, {1, 64, 52, 52}, 2, nhwc);
    add_concat(type, {1, 256, 13, 13}, 4, nhwc);
    add_concat(type, {1, 64, 55, 55}, 2, plain);
    add_reorder(type, {1, 3, 224, 224}, plain, nhwc);
    add_reorder(type, {1, 64, 56, 56}, plain, nhwc);
    add_reorder(type, {1, 64, 56, 56}, nhwc, plain);
  }
  add_resize(f32, {1, 21, 65, 65}, 513, true);
  add_resize(f32, {1, 256, 1, 1}, 65, true);
  add_resize(f32, {1, 64, 32, 32}, 64, true);
  const Shape image{1, 64, 112, 112}, small{1, 96, 14, 14};
  for (const Shape& x : {small, image}) {
    add_eltwise(OpKind::kRelu, algorithm::eltwise_relu, 0, 0, x);
    add_eltwise(OpKind::kSigmoid, algorithm::eltwise_logistic, 0, 0, x);
    add_eltwise(OpKind::kTanh, algorithm::eltwise_tanh, 0, 0, x);
    add_eltwise(OpKind::kGelu, algorithm::eltwise_gelu_erf, 0, 0, x);
    add_eltwise(OpKind::kHardSwish, algorithm::eltwise_hardswish, 1.0f / 6, 0.5f, x);
    add_eltwise(OpKind::kElu, algorithm::eltwise_elu, 1, 0, x);
  }
  add_softmax({1, 1000}, 1, plain);
  add_softmax({12, 128, 128}, 2, plain);
  add_softmax({1, 21, 65, 65}, 1, nhwc);
  add_softmax({4420, 2}, 1, plain);
  add_normalization(OpKind::kLayerNormalization, {128, 768}, 0);
  add_normalization(OpKind::kLayerNormalization, {197, 192}, 0);
  add_normalization(OpKind::kGroupNormalization, {1, 64, 56, 56}, 8);
  add_normalization(OpKind::kInstanceNormalization, {1, 32, 128, 128}, 0);
  for (const Layout layout : {plain, nhwc}) {
    add_reduction(OpKind::kReduceMean, algorithm::reduction_mean, {1, 1280, 7, 7}, {2, 3}, layout);
    add_reduction(OpKind::kReduceMean, algorithm::reduction_mean, {1, 64, 56, 56}, {2, 3}, layout);
    add_reduction(OpKind::kReduceMax, algorithm::reduction_max, {1, 64, 56, 56}, {1}, layout);
  }
  add_reduction(OpKind::kReduceSum, algorithm::reduction_sum, {512, 768}, {1}, plain);
  add_reduction(OpKind::kReduceSum, algorithm::reduction_sum, {512, 768}, {0}, plain);
  add_recurrent(OpKind::kLSTM, 1, 1, 128, 128);
  add_recurrent(OpKind::kLSTM, 50, 1, 64, 64);
  add_recurrent(OpKind::kLSTM, 100, 8, 256, 256);
  add_recurrent(OpKind::kGRU, 20, 1, 400, 400);
  add_recurrent(OpKind::kGRU, 50, 16, 128, 128);
}

// Least seconds of one call, in turns of about a millisecond each.
std::array<double, 2> least_times(const std::function<void()>& a, const std::function<void()>& b) {
  using Clock = std::chrono::steady_clock;
  std::array<double, 2> least = {1e9, 1e9};
  for (int turn = 0; turn < 60; ++turn) {
    const auto& call = turn % 2 == 0 ? a : b;
    double& best = least[static_cast<size_t>(turn % 2)];
    const auto start = Clock::now();
    for (auto now = start; now - start < std::chrono::milliseconds(turn < 2 ? 5 : 2);) {
      const auto before = now;
      call();
      now = Clock::now();
      best = std::min(best, std::chrono::duration<double>(now - before).count());
    }
  }
  return least;
}

int run(std::string_view filter) {
  const onednn::ThreadScope one_thread(1);
  add_cases();
  std::printf("%-52s %11s %11s %6s  %s\n", "least times in us", "portable", "oneDNN", "ratio",
              "oneDNN's implementation");
  for (Case& c : cases) {
    if (c.name.find(filter) == std::string::npos) continue;
    try {
      Primitive primitive = c.onednn();
      std::string note;
      std::function<void()> portable = c.instead;
      KernelCase::Compiled compiled;
      if (!portable) {
        auto made = c.portable.compile(c.layout);
        if (!made) {
          std::printf("%-52s %s\n", c.name.c_str(), made.error().to_string().c_str());
          continue;
        }
        compiled = *std::move(made);
        const bool has_kernel = compiled.step != nullptr;
        if (!has_kernel) note = "; portable: reference";
        portable = [&compiled, &note, &c, has_kernel] {
          if (has_kernel ? !compiled.run() : !c.portable.reference()) note = " FAILED";
        };
      }
      const auto [ours, onednn] = least_times(portable, [&] { primitive.run(); });
      std::printf("%-52s %11.2f %11.2f %6.2f  %s%s\n", c.name.c_str(), ours * 1e6, onednn * 1e6,
                  ours / onednn, primitive.implementation.c_str(), note.c_str());
    } catch (const dnnl::error& e) {
      std::printf("%-52s oneDNN: %s\n", c.name.c_str(), e.what());
    }
  }
  return 0;
}

}  // namespace
}  // namespace octavo::testing

int main(int argc, char** argv) { return octavo::testing::run(argc > 1 ? argv[1] : ""); }
