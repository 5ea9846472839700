// What follows the accumulation of a convolution or matrix product, as oneDNN attributes: scales,
// zero points, bias, residual sum and clamp, in the order of runtime/quant.h.
#pragma once

#include <utility>
#include <vector>

#include "native/onednn/tail.h"
#include "runtime/requantize.h"
#include <dnnl.hpp>

namespace octavo::onednn {

struct Epilogue {
  dnnl::primitive_attr attributes;
  std::vector<std::pair<int, dnnl::memory>> constants;  // scales and zero points
  std::vector<float> bias;                              // per output channel; empty: none
};

/// For `node` with inputs x, w, bias at 0, 1, 2 (and a residual at 3), `channels` output channels;
/// `scale_mask` is oneDNN's mask of the weights' channel dimension. `tail` comes last.
Result<Epilogue> make_epilogue(const PlanGraph& graph, const Node& node, int64_t channels,
                               int scale_mask, const std::optional<Eltwise>& tail = {});

/// Whether dtypes and parameters are among those make_epilogue and oneDNN handle: all of one type
/// that the device computes in, or u8/i8 activations with i8 weights of zero point 0, constant
/// weights and bias.
bool supports_dtypes(const PlanGraph& graph, const Node& node);

/// The bias as a oneDNN memory of that shape; call only if it is not empty.
dnnl::memory bias_memory(const std::vector<float>& bias, const dnnl::memory::desc& desc);

/// Constant weights in the layout that the primitive asks for.
dnnl::memory pack_weights(const dnnl::memory::desc& plain, const void* data,
                          const dnnl::memory::desc& packed);

}  // namespace octavo::onednn
