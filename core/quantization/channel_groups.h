// Sets of activations whose channels can be scaled without changing the network: by s[c] where they
// are computed (weights and bias of convolutions) and by 1 / s[c] where they are read (weights).
#pragma once

#include "core/quantization/annotate.h"

namespace octavo {

/// Values that have the same factors because they are added, and the convolutions around them.
struct ChannelGroup {
  std::vector<ValueId> values;
  std::vector<NodeId> producers;
  std::vector<NodeId> consumers;
  int64_t channels = 0;
};

struct ChannelGroupRules {
  bool per_channel_only = false;  // around them only weights with a scale per channel
  /// Convolutions over all channels may read values behind a Relu or Clip too, not only linear
  /// ones.
  bool dense_behind_activation = false;
  bool clip_in_sums = false;  // values behind Clip(0, hi) may be added
};

/// The groups of a graph. Only quantized convolutions whose weights nobody else reads take part.
std::vector<ChannelGroup> find_channel_groups(const Graph& graph, const Annotation& annotation,
                                              const ChannelGroupRules& rules);

/// Whether a group's consumer works on each channel by itself; its weights' axis of input channels
/// is 0 then, else 1.
bool is_depthwise_consumer(const Node& node, const ChannelGroup& group);

/// Multiplies slice c of `axis` of a constant by factors[c].
Status scale_constant(Graph& graph, ValueId id, int axis, std::span<const float> factors);

/// Multiplies the group's channels by factors[c].
Status scale_channels(Graph& graph, const ChannelGroup& group, std::span<const float> factors);
/// What the names of values end with whose channels were scaled, and shifted.
inline constexpr std::string_view kEqualizedSuffix = "_equalized", kAbsorbedSuffix = "_absorbed";
/// New names for the group's values, which are not comparable with the float model's any more.
void rename_values(Graph& graph, const ChannelGroup& group,
                   std::string_view suffix = kEqualizedSuffix);

}  // namespace octavo
