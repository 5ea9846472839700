#include "native/onednn/device.h"

#include <cstring>

#include "native/onednn/onednn.h"

namespace octavo {
namespace onednn {

bool Device::computes_in(DType dtype) const {
  const auto has = [](dnnl::cpu_isa isa) {
    const auto mask = static_cast<unsigned>(isa);
    return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & mask) == mask;
  };
  switch (dtype) {
    case DType::kF32: return true;
    case DType::kBF16: return !is_cpu() || has(dnnl::cpu_isa::avx512_core_bf16);
    case DType::kF16: return !is_cpu() || has(dnnl::cpu_isa::avx512_core_fp16);
    case DType::kU8:
    case DType::kI8:
      return !is_cpu() || has(dnnl::cpu_isa::avx512_core_vnni) || has(dnnl::cpu_isa::avx2_vnni);
    default: return false;
  }
}

dnnl::memory Device::upload(const dnnl::memory::desc& desc, const void* data) const {
  dnnl::memory memory = allocate(desc);
  write(memory, data, desc.get_size());
  return memory;
}

void Device::write(const dnnl::memory& memory, const void* data, size_t bytes) const {
  if (bytes == 0) return;
  void* mapped = map(memory);
  std::memcpy(mapped, data, bytes);
  unmap(memory, mapped);
}

void Device::read(const dnnl::memory& memory, void* data, size_t bytes) const {
  if (bytes == 0) return;
  void* mapped = map(memory);
  std::memcpy(data, mapped, bytes);
  unmap(memory, mapped);
}

std::shared_ptr<Device> cpu_device() {
  static const auto kDevice =
      std::make_shared<Device>(dnnl::engine(dnnl::engine::kind::cpu, 0), true);
  return kDevice;
}

namespace {

std::shared_ptr<Device>& device_of_thread() {
  static thread_local std::shared_ptr<Device> device = cpu_device();
  return device;
}

}  // namespace

const std::shared_ptr<Device>& current_device() { return device_of_thread(); }

DeviceScope::DeviceScope(const std::shared_ptr<Device>& device) : outer_(device_of_thread()) {
  if (device != nullptr) device_of_thread() = device;
}

DeviceScope::~DeviceScope() { device_of_thread() = outer_; }

}  // namespace onednn

namespace {

bool has_gpu_runtime() { return dnnl_version()->gpu_runtime != DNNL_RUNTIME_NONE; }

}  // namespace

Result<std::shared_ptr<onednn::Device>> open_device(std::string_view kind) {
  if (kind == "cpu") return onednn::cpu_device();
  if (kind != "gpu" && kind != "auto") {
    return fail(ErrorCode::kInvalidArgument, "there is no device '", kind,
                "'; use auto, cpu or gpu");
  }
  try {
    if (dnnl::engine::get_count(dnnl::engine::kind::gpu) > 0) {
      return std::make_shared<onednn::Device>(dnnl::engine(dnnl::engine::kind::gpu, 0), false);
    }
  } catch (const dnnl::error& e) {
    if (kind == "gpu") return fail(ErrorCode::kUnavailable, "the GPU cannot be used: ", e.what());
  }
  if (kind == "auto") return onednn::cpu_device();
  const dnnl_version_t& version = *dnnl_version();
  if (!has_gpu_runtime()) {
    return fail(
        ErrorCode::kUnavailable, "device gpu: oneDNN ", version.major, ".", version.minor, ".",
        version.patch,
        " was built without a GPU runtime (OpenCL or SYCL); install one that has it, or use "
        "device cpu");
  }
  return fail(ErrorCode::kUnavailable,
              "device gpu: oneDNN's GPU runtime finds no GPU; check its driver, or use device cpu");
}

std::string onednn_description() {
  const dnnl_version_t& version = *dnnl_version();
  const auto runtime = [](unsigned kind) {
    switch (kind) {
      case DNNL_RUNTIME_NONE: return "none";
      case DNNL_RUNTIME_SEQ: return "sequential";
      case DNNL_RUNTIME_OMP: return "OpenMP";
      case DNNL_RUNTIME_TBB: return "TBB";
      case DNNL_RUNTIME_THREADPOOL: return "thread pool";
      case DNNL_RUNTIME_OCL: return "OpenCL";
      default: return "SYCL";
    }
  };
  return concat("oneDNN ", version.major, ".", version.minor, ".", version.patch, ", CPU runtime ",
                runtime(version.cpu_runtime), ", GPU runtime ", runtime(version.gpu_runtime));
}

std::string_view onednn_arithmetic(DType dtype) {
  if (!onednn::cpu_device()->computes_in(dtype)) return "emulated";
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  constexpr auto kAmx = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  constexpr auto kAmxFp16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx_fp16);
  const unsigned wanted = dtype == DType::kF16 ? kAmxFp16 : kAmx;
  const bool amx = dtype != DType::kF32 && (isa & wanted) == wanted;
  return amx ? "native (AMX)" : "native";
}

}  // namespace octavo
