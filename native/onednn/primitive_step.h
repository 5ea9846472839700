// One oneDNN primitive as a step, on the device for which it was compiled: memory objects are made
// once; each run sets their addresses, or copies where the device has memory of its own.
#pragma once

#include <vector>

#include "native/onednn/device.h"
#include "runtime/weight_cache.h"

namespace octavo::onednn {

dnnl::memory::data_type data_type_of(DType dtype);

/// Storage order of a tensor as a oneDNN descriptor (logical dims; channels-last by strides).
dnnl::memory::desc desc_of(const Shape& shape, DType dtype, Layout layout);

/// Turns oneDNN's exceptions into errors: `fn` returns a Result of a pointer, which is null if
/// oneDNN has no implementation, or of something else.
template <class Fn>
auto guarded(const Node& node, Fn&& fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (const dnnl::error& e) {
    if constexpr (std::is_constructible_v<decltype(fn()), std::nullptr_t>) {
      if (e.status == dnnl_unimplemented) return nullptr;
    }
    const bool memory = e.status == dnnl_out_of_memory;
    return std::unexpected(Error{memory ? ErrorCode::kOutOfMemory : ErrorCode::kUnavailable,
                                 concat("oneDNN: ", e.what()), node.name});
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error{ErrorCode::kOutOfMemory, "oneDNN: out of memory", node.name});
  } catch (const std::exception& e) {  // the Graph API's caches, of what failed once
    return std::unexpected(Error{ErrorCode::kUnavailable, concat("oneDNN: ", e.what()), node.name});
  }
}

class PrimitiveStep final : public Step {
 public:
  /// Arguments whose address changes from run to run: `argument` gets input or output `index`.
  struct Binding {
    int argument;  // DNNL_ARG_SRC, ...
    bool is_output;
    size_t index;
    dnnl::memory::desc desc;
  };

  PrimitiveStep(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
                const std::vector<Binding>& bindings,
                const std::vector<std::pair<int, dnnl::memory>>& constants);

  /// Input `index` is added into the output, which a sum post-op reads: it must be there before.
  void set_sum_input(int index) { sum_input_ = index; }

  /// Memory that constants are in.
  void hold(PackedBlock block) { held_ = std::move(block); }

  Status run(const StepContext& context) override;
  int64_t scratch_bytes() const override { return scratch_bytes_; }
  int in_place_input() const override { return sum_input_; }

 private:
  Status put_inputs(const StepContext& context);

  std::shared_ptr<Device> device_;
  dnnl::primitive primitive_;
  int made_for_;  // threads
  dnnl::stream stream_;
  std::vector<Binding> bindings_;
  std::vector<dnnl::memory> memories_;  // of the bindings, then the scratchpad, then constants
  std::vector<dnnl_exec_arg_t> arguments_;
  PackedBlock held_;
  int64_t scratch_bytes_ = 0;
  int sum_input_ = -1;
};

}  // namespace octavo::onednn
