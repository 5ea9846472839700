// What the kernel of int8 depthwise convolution reads.
#pragma once

#include "runtime/kernels/aligned.h"
#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/requantize_ending.h"

namespace octavo::kernels {

struct DepthwiseInt8 {
  ops::ConvShape shape;  // two dimensions: indices 1 and 2
  int64_t channels = 0;
  int64_t lanes = 0;       // channels in a block: 16, 32 or 64
  bool by_column = false;  // 3 x 3 without dilation
  int64_t groups = 0;      // of four taps
  // For each block of channels (the last one overlaps the one before), in the order of the
  // interleaved vectors: sum p of a block belongs to its channel sum_channel(p).
  AlignedVector<int8_t> weights;        // [block][group][4 * lanes], or:
  AlignedVector<int16_t> wide_weights;  // [block][group][pair of taps][2 * lanes]
  AlignedVector<int32_t> start;         // [block][lanes]
  AlignedVector<float> multiplier, bias;
  std::vector<uint8_t> padding;  // the input's zero point, channels + 64 times
  float lo = 0, hi = 0, zero_point = 0;
  RequantizeEnding ending = RequantizeEnding::kFull;
  ByteRange bytes;
  bool wide = false;
  const uint8_t* table = nullptr;  // of results, where kLooksUp
  uint8_t flip = 0;                // 0x80: the input's sign bits are flipped

  int64_t blocks() const { return (channels + lanes - 1) / lanes; }
  int64_t first_channel(int64_t block) const {
    return std::max<int64_t>(0, std::min(block * lanes, channels - lanes));
  }
  // Vector v holds, of each 128-bit block of 16 channels, channels 4v to 4v + 3.
  int64_t sum_channel(int64_t p) const {
    const int64_t vector = p / (lanes / 4), lane = p % (lanes / 4);
    return lane / 4 * 16 + vector * 4 + lane % 4;
  }
};

/// Of a Conv that the kernel takes. `lanes`: how many of so many channels a block has.
Result<DepthwiseInt8> pack_depthwise_int8(const PlanGraph& graph, const Node& node,
                                          int64_t (*lanes)(int64_t channels));

}  // namespace octavo::kernels
