#include "native/onednn/primitive_step.h"

#include <omp.h>

#include <cstring>

namespace octavo::onednn {

const dnnl::engine& cpu_engine() {
  static const dnnl::engine kEngine(dnnl::engine::kind::cpu, 0);
  return kEngine;
}

dnnl::memory::data_type data_type_of(DType dtype) {
  using type = dnnl::memory::data_type;
  switch (dtype) {
    case DType::kF32: return type::f32;
    case DType::kF16: return type::f16;
    case DType::kBF16: return type::bf16;
    case DType::kI8: return type::s8;
    case DType::kU8: return type::u8;
    case DType::kI32: return type::s32;
    default: return type::undef;
  }
}

dnnl::memory::desc desc_of(const Shape& shape, DType dtype, Layout layout) {
  const int rank = shape.rank();
  const auto physical = dense_strides(physical_shape(shape, layout));
  dnnl::memory::dims strides;
  for (int axis = 0; axis < rank; ++axis) {
    strides.push_back(physical[static_cast<size_t>(physical_axis(axis, rank, layout))]);
  }
  return {dnnl::memory::dims(shape.begin(), shape.end()), data_type_of(dtype), strides};
}

PrimitiveStep::PrimitiveStep(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
                             const std::vector<Binding>& bindings,
                             const std::vector<std::pair<int, dnnl::memory>>& constants)
    : primitive_(primitive), stream_(cpu_engine()), bindings_(bindings) {
  const auto add = [&](int argument, dnnl::memory memory) {
    arguments_.push_back({argument, memory.get()});
    memories_.push_back(std::move(memory));
  };
  for (const Binding& binding : bindings_) {
    add(binding.argument, dnnl::memory(binding.desc, cpu_engine(), nullptr));
  }
  scratch_bytes_ = static_cast<int64_t>(scratchpad.get_size());
  add(DNNL_ARG_SCRATCHPAD, dnnl::memory(scratchpad, cpu_engine(), nullptr));
  for (const auto& [argument, memory] : constants) add(argument, memory);
}

Status PrimitiveStep::run(const StepContext& context) {
  if (sum_input_ >= 0) {
    const TensorView& addend = context.inputs[static_cast<size_t>(sum_input_)];
    TensorView& out = context.outputs[0];
    if (addend.data != out.data) {
      std::memcpy(out.data, addend.data, static_cast<size_t>(out.bytes()));
    }
  }
  for (size_t i = 0; i < bindings_.size(); ++i) {
    const Binding& binding = bindings_[i];
    void* data = binding.is_output ? context.outputs[binding.index].data
                                   : context.inputs[binding.index].data;
    dnnl_memory_set_data_handle(memories_[i].get(), data);
  }
  dnnl_memory_set_data_handle(memories_[bindings_.size()].get(), context.scratch);
  omp_set_num_threads(context.pool == nullptr ? 1 : context.pool->thread_count());
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (status != dnnl_success) return fail(ErrorCode::kInternal, "oneDNN failed to run a primitive");
  return {};
}

}  // namespace octavo::onednn
