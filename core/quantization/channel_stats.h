// What the channels of activations are like over the calibration data: means, energies, extremes.
#pragma once

#include <limits>

#include "core/calibration/collector.h"
#include "core/quantization/annotate.h"
#include "runtime/session.h"

namespace octavo {

struct ChannelInput {
  ValueId value;
  int axis;  // of the channels
  /// Where what computes the value cuts it off.
  float bound = std::numeric_limits<float>::infinity();
};

class ChannelStats : public Observer {
 public:
  ChannelStats(const Graph& graph, std::span<const ChannelInput> watched);
  /// Watches the inputs of quantized Conv (channels: axis 1) and Gemm (axis 1) nodes.
  ChannelStats(const Graph& graph, const Annotation& annotation);

  /// False if there is nothing to watch.
  bool any() const;
  /// Channel c of the value is multiplied by factors[c].
  void scale(ValueId value, std::span<const float> factors);
  /// constants[c] is taken from channel c of the value.
  void shift(ValueId value, std::span<const float> constants);

  // Of each channel of a value; empty if it was not seen.
  std::vector<double> mean(ValueId value) const;
  std::vector<double> energy(ValueId value) const;  // mean of squares
  std::span<const Range> ranges(ValueId value) const;
  /// Share of elements at the bound.
  std::vector<double> cut_off(ValueId value) const;

  /// What is known of its values is all that `wanted` would know.
  bool serves(const ChannelStats& wanted) const;
  void write(ByteWriter& out) const;
  /// Statistics of `graph`'s values. Makes `in` bad if it holds none of as many values.
  static ChannelStats read(const Graph& graph, ByteReader& in);

  bool wants(ValueId value) const override;
  Status on_value(ValueId value, const TensorView& tensor) override;

 private:
  struct Sums {
    int axis = -1;  // of the channels; -1: not watched
    float bound = std::numeric_limits<float>::infinity();
    std::vector<double> sum, squares, reaching;  // reaching: how many are at the bound
    std::vector<Range> ranges;
    int64_t count = 0;  // elements of a channel
  };
  static void add_run(size_t channel, std::span<const float> run, Sums& sums);

  std::vector<Sums> sums_;  // by ValueId
};

}  // namespace octavo
