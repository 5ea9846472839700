// What oneDNN computes on, and the only way to its memory, which need not be the host's.
#pragma once

#include <memory>

#include "runtime/dtype.h"
#include "runtime/status.h"
#include <dnnl.hpp>

namespace octavo::onednn {

class Device {
 public:
  /// `shares_host_memory`: primitives may be given addresses of the host.
  Device(const dnnl::engine& engine, bool shares_host_memory)
      : engine_(engine), shares_host_memory_(shares_host_memory) {}
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const dnnl::engine& engine() const { return engine_; }
  bool is_cpu() const { return engine_.get_kind() == dnnl::engine::kind::cpu; }
  bool shares_host_memory() const { return shares_host_memory_; }

  /// Whether the device has instructions for arithmetic in the type: f32 always; on the CPU bf16
  /// and f16 (with float32 sums) where it has AVX512-BF16 and AVX512-FP16. Without them oneDNN
  /// would emulate, slowly.
  bool computes_in(DType dtype) const;

  // These throw dnnl::error.

  dnnl::memory allocate(const dnnl::memory::desc& desc) const { return {desc, engine_}; }
  /// New memory with these elements.
  dnnl::memory upload(const dnnl::memory::desc& desc, const void* data) const;
  /// The first `bytes` bytes, through a mapping.
  void write(const dnnl::memory& memory, const void* data, size_t bytes) const;
  void read(const dnnl::memory& memory, void* data, size_t bytes) const;

  /// Memory whose elements are those at a host address, to be set by attach() before each use. Only
  /// where shares_host_memory().
  virtual dnnl::memory attachable(const dnnl::memory::desc& desc) const {
    return {desc, engine_, nullptr};
  }
  virtual void attach(const dnnl::memory& memory, void* data) const {
    memory.set_data_handle(data);
  }

 protected:
  virtual void* map(const dnnl::memory& memory) const { return memory.map_data(); }
  virtual void unmap(const dnnl::memory& memory, void* mapped) const { memory.unmap_data(mapped); }

 private:
  dnnl::engine engine_;
  bool shares_host_memory_;
};

/// The CPU.
std::shared_ptr<Device> cpu_device();

/// The device for which this thread is compiling: that of the DeviceScope it is in, else the CPU.
const std::shared_ptr<Device>& current_device();

class DeviceScope {
 public:
  explicit DeviceScope(const std::shared_ptr<Device>& device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  std::shared_ptr<Device> outer_;
};

}  // namespace octavo::onednn
