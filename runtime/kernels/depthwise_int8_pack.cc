#include "runtime/kernels/depthwise_int8.h"
#include "runtime/kernels/gemm.h"

namespace octavo::kernels {
namespace {

// Packs weights, sums and requantization of each block of channels.
void pack(DepthwiseInt8& dw, std::span<const int8_t> weights, const Requantize& requantize,
          int32_t zero_point) {
  const auto& window = dw.shape.window;
  const int64_t taps = window.kernel[1] * window.kernel[2];
  const int64_t lanes = dw.lanes;
  const auto size = static_cast<size_t>(dw.blocks() * lanes);
  const size_t weight_count = size * static_cast<size_t>(dw.groups) * 4;
  dw.wide ? dw.wide_weights.assign(weight_count, 0) : dw.weights.assign(weight_count, 0);
  dw.start.assign(size, 0);
  dw.multiplier.assign(size, 0);
  dw.bias.assign(size, 0);
  for (int64_t block = 0; block < dw.blocks(); ++block) {
    for (int64_t p = 0; p < lanes; ++p) {
      const int64_t c = dw.first_channel(block) + dw.sum_channel(p);
      if (c >= dw.channels) continue;
      const int8_t* from = weights.data() + c * taps;
      const auto set = [&](int64_t group, int64_t slot, int64_t tap) {
        const int64_t at = (block * dw.groups + group) * 4 * lanes;
        if (dw.wide) {
          const int64_t pair = at + slot / 2 * 2 * lanes + p * 2 + slot % 2;
          dw.wide_weights[static_cast<size_t>(pair)] = from[tap];
        } else {
          dw.weights[static_cast<size_t>(at + p * 4 + slot)] = from[tap];
        }
      };
      int32_t sum = 0;
      for (int64_t t = 0; t < taps; ++t) {
        sum += from[t];
        if (dw.by_column) {  // three columns for the first output row, three for the second
          set(t % 3, t / 3, t);
          set(3 + t % 3, t / 3 + 1, t);
        } else {
          set(t / 4, t % 4, t);
        }
      }
      const auto at = static_cast<size_t>(block * lanes + p);
      dw.start[at] = -zero_point * sum;
      dw.multiplier[at] = requantize.multiplier[static_cast<size_t>(c)];
      dw.bias[at] = requantize.bias[static_cast<size_t>(c)];
    }
  }
}

}  // namespace

[[gnu::cold]] Result<DepthwiseInt8> pack_depthwise_int8(const PlanGraph& graph, const Node& node,
                                                        int64_t (*lanes)(int64_t channels)) {
  DepthwiseInt8 dw;
  OCTAVO_ASSIGN(dw.shape, conv_shape_of(graph, node));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
  const TensorInfo& x = graph.info(node.input(0));
  const TensorInfo& y = graph.info(node.output(0));
  const auto weights = int8_weights(graph, node.input(1), 0);
  dw.channels = dw.shape.groups;
  TensorView bias;
  if (const ValueId id = node.input(2); id != kNoValue) {
    bias = graph.info(id).constant.view(graph.info(id).quant.get());
  }
  OCTAVO_ASSIGN(
      const Requantize requantize,
      make_requantize(*x.quant, weights->quant, y.quant.get(), y.dtype, bias, dw.channels, bounds));
  dw.lo = requantize.lo;
  dw.hi = requantize.hi;
  dw.zero_point = requantize.zero_point;
  dw.ending = requantize_ending(requantize, y.dtype,
                                static_cast<int64_t>(weights->data.size()) / dw.channels);
  dw.bytes = byte_range(requantize, y.dtype);
  // Wide sums are of unsigned bytes too.
  dw.wide = int8_input() == Int8Input::kWide;
  const Int8Form form(dw.wide ? Int8Input::kUnsigned : int8_input(), x.dtype,
                      x.quant->zero_point[0]);
  dw.flip = form.flip ? 0x80 : 0;
  dw.padding.assign(static_cast<size_t>(dw.channels) + 64,
                    static_cast<uint8_t>(x.quant->zero_point[0]));
  const auto& window = dw.shape.window;
  const bool any = kSmallCode && (dw.channels < 16 || dw.ending == RequantizeEnding::kFull);
  dw.by_column = window.kernel[1] == 3 && window.kernel[2] == 3 && window.dilation[1] == 1 &&
                 window.dilation[2] == 1 && window.stride[2] <= 2 && !any;
  dw.groups = dw.by_column ? 6 : (window.kernel[1] * window.kernel[2] + 3) / 4;
  dw.lanes = lanes(dw.channels);
  pack(dw, weights->data, requantize, form.zero_point);
  return dw;
}

}  // namespace octavo::kernels
