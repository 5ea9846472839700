#include "core/quantization/bias_correction.h"

#include <algorithm>

#include "runtime/ops/convolve.h"

namespace octavo {
namespace {

// Share of output positions at which each kernel position lies on data, row-major.
std::vector<double> coverage(const Graph& graph, const Node& node, const Shape& weight) {
  const auto positions = static_cast<size_t>(weight.elements(2, weight.rank()));
  std::vector<double> share(positions, 1);
  const Shape& x = graph.value(node.inputs[0]).shape;
  if (!x.is_static()) return share;
  const auto shape = ops::conv_shape(node, x, weight);
  if (!shape) return share;
  const auto& [window, in, out] = std::tie(shape->window, shape->in, shape->out);
  for (size_t p = 0; p < positions; ++p) {
    auto rest = static_cast<int64_t>(p);
    for (size_t axis = 3; axis-- > 0;) {
      const int64_t k = rest % window.kernel[axis];
      rest /= window.kernel[axis];
      int64_t inside = 0;
      for (int64_t o = 0; o < out[axis]; ++o) {
        const int64_t at =
            o * window.stride[axis] - window.pad_begin[axis] + k * window.dilation[axis];
        inside += at >= 0 && at < in[axis];
      }
      if (out[axis] > 0) share[p] *= static_cast<double>(inside) / static_cast<double>(out[axis]);
    }
  }
  return share;
}

}  // namespace

std::vector<double> output_shift(const Graph& graph, const Node& node, const Tensor& weights,
                                 const Tensor& quantized, const ChannelStats& stats) {
  const std::vector<double> mean = stats.mean(node.inputs[0]);
  if (mean.empty() || weights.shape().rank() < 2) return {};
  const Shape& shape = weights.shape();
  const auto real = weights.data<const float>(), rounded = quantized.data<const float>();
  const bool is_conv = node.kind == OpKind::kConv;
  const bool transposed = !is_conv && node.get_int("transB") == 0;  // Gemm's B is K x N
  const auto outputs = static_cast<size_t>(shape[transposed ? 1 : 0]);
  const auto inputs = static_cast<size_t>(shape[transposed ? 0 : 1]);
  const size_t groups = is_conv ? static_cast<size_t>(node.get_int("group")) : 1;
  if (groups == 0 || mean.size() != inputs * groups) return {};
  const std::vector<double> share =
      is_conv ? coverage(graph, node, shape) : std::vector<double>{1.0};
  std::vector<double> shift(outputs, 0);
  for (size_t o = 0; o < outputs; ++o) {
    const double* group_mean = mean.data() + o / (outputs / groups) * inputs;
    for (size_t i = 0; i < inputs; ++i) {
      double error = 0;
      for (size_t k = 0; k < share.size(); ++k) {
        const size_t at = transposed ? i * outputs + o : (o * inputs + i) * share.size() + k;
        error += (static_cast<double>(rounded[at]) - real[at]) * share[k];
      }
      shift[o] += error * group_mean[i];
    }
  }
  return shift;
}

}  // namespace octavo
