// What follows the accumulation of a convolution or matrix product, as oneDNN attributes: scales,
// zero points, bias, residual sum and clamp, in the order of runtime/quant.h.
#pragma once

#include <utility>
#include <vector>

#include "native/onednn/primitive_step.h"
#include "native/onednn/tail.h"
#include "runtime/requantize.h"
#include <dnnl.hpp>

namespace octavo::onednn {

struct Epilogue {
  dnnl::primitive_attr attributes;
  std::vector<std::pair<int, dnnl::memory>> constants;  // scales and zero points
  std::vector<float> bias;                              // per output channel; empty: none
  PackingScope* packing = nullptr;                      // of the weights
};

/// For `node` with inputs x, w, bias at 0, 1, 2 (and a residual at 3), `channels` output channels;
/// `scale_mask` is oneDNN's mask of the weights' channel dimension. `tail` comes last.
Result<Epilogue> make_epilogue(const PlanGraph& graph, const Node& node, int64_t channels,
                               int scale_mask, const std::optional<Eltwise>& tail = {});

/// Whether dtypes and parameters are among those make_epilogue and oneDNN handle: all of one type
/// that the device computes in, or u8/i8 activations with i8 weights of zero point 0, constant
/// weights and bias.
bool supports_dtypes(const PlanGraph& graph, const Node& node);

/// The shape of a bias, or none, as oneDNN wants to know it before there is a primitive.
dnnl::memory::desc bias_desc(const Epilogue& epilogue, const dnnl::memory::dims& dims);

/// Appends constant weights, in the layout that the primitive asks for, and the bias. Returns the
/// host's memory that the weights are in; the step must hold it.
PackedBlock add_weights(Epilogue& epilogue, const dnnl::primitive_desc_base& description,
                        const dnnl::memory::desc& plain, const void* data);

/// A convolution or matrix product with constant weights, which lie as `plain` says; it writes
/// `output`.
template <class Primitive>
std::unique_ptr<PrimitiveStep> make_weighted_step(
    const typename Primitive::primitive_desc& description, Epilogue& epilogue,
    const dnnl::memory::desc& plain, const void* weights, const Node& node, ValueId output) {
  PackedBlock block = add_weights(epilogue, description, plain, weights);
  auto step = std::make_unique<PrimitiveStep>(
      Primitive(description), description.scratchpad_desc(),
      std::vector<PrimitiveStep::Binding>{{DNNL_ARG_SRC, false, 0, description.src_desc()},
                                          {DNNL_ARG_DST, true, 0, description.dst_desc()}},
      epilogue.constants);
  step->hold(std::move(block));
  step->kernel = description.impl_info_str();
  step->inputs = {node.input(0)};
  step->outputs = {output};
  return step;
}

}  // namespace octavo::onednn
