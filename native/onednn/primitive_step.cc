#include "native/onednn/primitive_step.h"

#include <cstring>

#include "native/onednn/thread_scope.h"

namespace octavo::onednn {

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
    : device_(current_device()),
      primitive_(primitive),
      made_for_(omp_get_max_threads()),
      stream_(device_->engine()),
      bindings_(bindings) {
  const bool shared = device_->shares_host_memory();
  const auto add = [&](int argument, dnnl::memory memory) {
    arguments_.push_back({argument, memory.get()});
    memories_.push_back(std::move(memory));
  };
  const auto make = [&](const dnnl::memory::desc& desc) {
    return shared ? device_->attachable(desc) : device_->allocate(desc);
  };
  for (const Binding& binding : bindings_) add(binding.argument, make(binding.desc));
  if (shared) scratch_bytes_ = static_cast<int64_t>(scratchpad.get_size());
  add(DNNL_ARG_SCRATCHPAD, make(scratchpad));
  for (const auto& [argument, memory] : constants) add(argument, memory);
}

Status PrimitiveStep::put_inputs(const StepContext& context) {
  const bool shared = device_->shares_host_memory();
  for (size_t i = 0; i < bindings_.size(); ++i) {
    const Binding& binding = bindings_[i];
    const TensorView& view =
        binding.is_output ? context.outputs[binding.index] : context.inputs[binding.index];
    const TensorView* addend = binding.is_output && sum_input_ >= 0
                                   ? &context.inputs[static_cast<size_t>(sum_input_)]
                                   : nullptr;
    const auto bytes = static_cast<size_t>(view.bytes());
    if (shared) {
      if (addend != nullptr && addend->data != view.data) {
        std::memcpy(view.data, addend->data, bytes);
      }
      device_->attach(memories_[i], view.data);
    } else if (!binding.is_output) {
      device_->write(memories_[i], view.data, bytes);
    } else if (addend != nullptr) {
      device_->write(memories_[i], addend->data, bytes);
    }
  }
  if (shared) device_->attach(memories_[bindings_.size()], context.scratch);
  return {};
}

Status PrimitiveStep::run(const StepContext& context) {
  try {
    OCTAVO_TRY(put_inputs(context));
    const ThreadScope threads(made_for_,
                              context.pool == nullptr ? 1 : context.pool->thread_count());
    const dnnl_status_t status = dnnl_primitive_execute(
        primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
    if (status != dnnl_success) {
      return fail(ErrorCode::kInternal, "oneDNN failed to run a primitive");
    }
    if (device_->shares_host_memory()) return {};
    stream_.wait();
    for (size_t i = 0; i < bindings_.size(); ++i) {
      if (!bindings_[i].is_output) continue;
      TensorView& view = context.outputs[bindings_[i].index];
      device_->read(memories_[i], view.data, static_cast<size_t>(view.bytes()));
    }
  } catch (const dnnl::error& e) {
    return fail(ErrorCode::kInternal, "oneDNN: ", e.what());
  }
  return {};
}

}  // namespace octavo::onednn
