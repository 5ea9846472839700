#include "core/quantization/saturation.h"

#include <algorithm>

#include "runtime/requantize.h"

namespace octavo {
namespace {

struct Extremes {
  int64_t largest[2] = {0, 0}, smallest[2] = {0, 0};  // padding counts: zero

  void add(int64_t t) {
    if (t > largest[1]) {
      largest[1] = t;
      if (t > largest[0]) std::swap(largest[0], largest[1]);
    } else if (t < smallest[1]) {
      smallest[1] = t;
      if (t < smallest[0]) std::swap(smallest[0], smallest[1]);
    }
  }
  double of_int16() const {
    return std::max(static_cast<double>(largest[0] + largest[1]) / 32767,
                    static_cast<double>(smallest[0] + smallest[1]) / -32768);
  }
};

}  // namespace

std::vector<double> saturation(const Tensor& weights, int axis, std::span<const int> most) {
  const Shape& shape = weights.shape();
  const int64_t outputs = shape[axis], inner = shape.elements(axis + 1, shape.rank());
  // Weights [outputs, inputs of the output's group, ...].
  const int64_t group_inputs = shape.rank() > 1 ? shape[1] : 1;
  const int64_t groups =
      std::max<int64_t>(static_cast<int64_t>(most.size()) / std::max<int64_t>(group_inputs, 1), 1);
  const int64_t group_outputs = std::max<int64_t>(outputs / groups, 1);
  std::vector<Extremes> extremes(static_cast<size_t>(outputs));
  const auto data = weights.data<const int8_t>();
  for (int64_t i = 0; i < std::ssize(data); ++i) {
    const int64_t output = i / inner % outputs;
    int64_t input = 0;
    if (most.size() > 1) {
      input = output / group_outputs * group_inputs + i % inner / (inner / group_inputs);
    }
    extremes[static_cast<size_t>(output)].add(int64_t{most[static_cast<size_t>(input)]} *
                                              data[static_cast<size_t>(i)]);
  }
  std::vector<double> found;
  found.reserve(extremes.size());
  for (const Extremes& channel : extremes) found.push_back(channel.of_int16());
  return found;
}

int largest_integer(float max, const TensorQuant& quant) {
  const IntRange range = quantized_range(quant.dtype);
  const double q =
      std::nearbyint(static_cast<double>(max) / quant.params.scale[0]) + quant.params.zero_point[0];
  return static_cast<int>(
      std::clamp(q, static_cast<double>(range.lo), static_cast<double>(range.hi)) -
      static_cast<double>(range.lo));
}

}  // namespace octavo
