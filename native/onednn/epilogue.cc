#include "native/onednn/epilogue.h"

#include <algorithm>
#include <cstring>

#include "native/onednn/primitive_step.h"
#include "runtime/ops/common.h"

namespace octavo::onednn {
namespace {

template <class T>
dnnl::memory filled_memory(const std::vector<T>& values, const dnnl::memory::desc& desc) {
  return current_device()->upload(desc, values.data());
}

template <class T>
dnnl::memory vector_memory(const std::vector<T>& values, dnnl::memory::data_type type) {
  return filled_memory(values,
                       {{static_cast<int64_t>(values.size())}, type, dnnl::memory::format_tag::a});
}

// Of the order of elements, and of what else a reordering depends on.
uint64_t hash_of(const dnnl::memory::desc& desc) {
  const dnnl_version_t& version = *dnnl_version();
  uint64_t hash = static_cast<uint64_t>(dnnl::get_effective_cpu_isa());
  for (const int number : {version.major, version.minor, version.patch}) {
    hash = mix(hash, static_cast<uint64_t>(number));
  }
  for (const auto& list :
       {desc.get_padded_dims(), desc.get_strides(), desc.get_inner_blks(), desc.get_inner_idxs()}) {
    for (const int64_t number : list) hash = mix(hash, static_cast<uint64_t>(number));
  }
  return hash;
}

bool is_byte(DType dtype) { return dtype == DType::kI8 || dtype == DType::kU8; }

}  // namespace

dnnl::memory::desc bias_desc(const Epilogue& epilogue, const dnnl::memory::dims& dims) {
  if (epilogue.bias.empty()) return {};
  return {dims, dnnl::memory::data_type::f32,
          dims.size() == 1 ? dnnl::memory::format_tag::a : dnnl::memory::format_tag::ab};
}

PackedBlock add_weights(Epilogue& epilogue, const dnnl::primitive_desc_base& description,
                        const dnnl::memory::desc& plain, const void* data) {
  const auto desc_of_argument = [&](int argument) {
    return description.query_md(dnnl::query::exec_arg_md, argument);
  };
  const Device& device = *current_device();
  const dnnl::memory::desc packed = desc_of_argument(DNNL_ARG_WEIGHTS);
  const bool shared = device.shares_host_memory();
  PackedBlock block;
  if (shared) block.assign(packed.get_size(), hash_of(packed), epilogue.packing);
  const auto memory_at = [&](const dnnl::memory::desc& desc, void* address) {
    const dnnl::memory memory = device.attachable(desc);
    device.attach(memory, address);
    return memory;
  };
  dnnl::memory to = shared ? memory_at(packed, block.data()) : device.allocate(packed);
  if (!block.is_filled()) {
    dnnl::memory from =
        shared ? memory_at(plain, const_cast<void*>(data)) : device.upload(plain, data);
    dnnl::stream stream(device.engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  }
  epilogue.constants.emplace_back(DNNL_ARG_WEIGHTS, to);
  if (!epilogue.bias.empty()) {
    epilogue.constants.emplace_back(DNNL_ARG_BIAS,
                                    filled_memory(epilogue.bias, desc_of_argument(DNNL_ARG_BIAS)));
  }
  return block;
}

bool supports_dtypes(const PlanGraph& graph, const Node& node) {
  const auto info = [&](size_t i) -> const TensorInfo* {
    return node.input(i) == kNoValue ? nullptr : &graph.info(node.input(i));
  };
  const TensorInfo &x = *info(0), &w = *info(1), &y = graph.info(node.output(0));
  const TensorInfo *bias = info(2), *residual = info(3);
  if (bias != nullptr && !bias->constant.present()) return false;
  if (!current_device()->computes_in(x.dtype)) return false;
  if (!is_byte(x.dtype)) {
    return w.dtype == x.dtype && y.dtype == x.dtype &&
           (bias == nullptr || bias->dtype == x.dtype) &&
           (residual == nullptr || residual->dtype == x.dtype);
  }
  if (w.dtype != DType::kI8 || !w.constant.present()) return false;
  if (x.quant == nullptr || w.quant == nullptr || !x.quant->per_tensor()) return false;
  if (std::ranges::any_of(w.quant->zero_point, [](int32_t z) { return z != 0; })) return false;
  if (is_byte(y.dtype) ? y.quant == nullptr || !y.quant->per_tensor() : y.dtype != DType::kF32) {
    return false;
  }
  return residual == nullptr ||
         (is_byte(y.dtype) && is_byte(residual->dtype) && residual->quant != nullptr);
}

Result<Epilogue> make_epilogue(const PlanGraph& graph, const Node& node, int64_t channels,
                               int scale_mask, const std::optional<Eltwise>& tail) {
  Epilogue result;
  result.packing = graph.packing;
  dnnl::primitive_attr& attributes = result.attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
  const ValueId bias_id = node.input(2), residual_id = node.input(3);
  const TensorView bias = bias_id == kNoValue
                              ? TensorView{}
                              : graph.info(bias_id).constant.view(graph.info(bias_id).quant.get());
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
  float lo = bounds.lo, hi = bounds.hi, residual_scale = 1;
  int32_t residual_zero_point = 0;
  if (x.quant == nullptr) {
    if (bias.present()) {
      OCTAVO_ASSIGN(const Tensor real, Tensor::create(DType::kF32, bias.shape));
      OCTAVO_TRY(ops::cast_elements(bias, real.view()));
      const auto values = real.data<const float>();
      result.bias.assign(static_cast<size_t>(channels), values.size() == 1 ? values[0] : 0);
      if (values.size() > 1) std::ranges::copy(values, result.bias.begin());
    }
  } else {
    const TensorInfo& w = graph.info(node.input(1));
    const QuantParams* y_quant = y.quant.get();
    OCTAVO_ASSIGN(Requantize requantize,
                  make_requantize(*x.quant, *w.quant, y_quant, y.dtype, bias, channels, bounds));
    attributes.set_scales_mask(DNNL_ARG_WEIGHTS, scale_mask);
    result.constants.emplace_back(
        DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
        vector_memory(requantize.multiplier, dnnl::memory::data_type::f32));
    if (bias.present()) result.bias = std::move(requantize.bias);
    const auto zero_point = [&](int argument, int32_t value) {
      if (value == 0) return;
      attributes.set_zero_points_mask(argument, 0);
      result.constants.emplace_back(
          DNNL_ARG_ATTR_ZERO_POINTS | argument,
          vector_memory(std::vector<int32_t>{value}, dnnl::memory::data_type::s32));
    };
    zero_point(DNNL_ARG_SRC, x.quant->zero_point[0]);
    if (y_quant != nullptr) zero_point(DNNL_ARG_DST, y_quant->zero_point[0]);
    if (y_quant != nullptr && residual_id != kNoValue) {
      const QuantParams& residual = *graph.info(residual_id).quant;
      residual_scale = residual.scale[0] / y_quant->scale[0];
      residual_zero_point = residual.zero_point[0];
    }
    // The clamp comes before the output's zero point; what saturation does anyway is left out.
    const IntRange range = quantized_range(y.dtype);
    const bool byte = y_quant != nullptr;
    lo = byte && requantize.lo <= static_cast<float>(range.lo)
             ? -INFINITY
             : requantize.lo - requantize.zero_point;
    hi = byte && requantize.hi >= static_cast<float>(range.hi)
             ? INFINITY
             : requantize.hi - requantize.zero_point;
  }
  dnnl::post_ops post_ops;
  if (residual_id != kNoValue) {
    post_ops.append_sum(residual_scale, residual_zero_point,
                        data_type_of(graph.info(residual_id).dtype));
  }
  if (lo == 0 && std::isinf(hi)) {
    post_ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0, 0);
  } else if (!std::isinf(lo) || !std::isinf(hi)) {
    const float most = std::numeric_limits<float>::max();
    post_ops.append_eltwise(dnnl::algorithm::eltwise_clip, std::max(lo, -most), std::min(hi, most));
  }
  if (tail) post_ops.append_eltwise(tail->algorithm, tail->alpha, tail->beta);
  attributes.set_post_ops(post_ops);
  return result;
}

}  // namespace octavo::onednn
