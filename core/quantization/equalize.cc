#include "core/quantization/equalize.h"

#include <algorithm>

#include "core/quantization/channel_groups.h"
#include "core/quantization/params.h"

namespace octavo {
namespace {

// A channel of which calibration saw little is scaled up no more than this.
constexpr float kMaxFactor = 4;
constexpr ChannelGroupRules kActivationRules{.per_channel_only = true};

// How far a channel can be scaled up within the range of the whole tensor.
float room(const Range& whole, const Range& channel, bool symmetric) {
  const auto magnitude = [](const Range& range) { return std::max(-range.min, range.max); };
  float factor = kMaxFactor;
  if (symmetric && magnitude(channel) > 0) {
    factor = std::min(factor, magnitude(whole) / magnitude(channel));
  }
  if (!symmetric && channel.max > 0) factor = std::min(factor, whole.max / channel.max);
  if (!symmetric && channel.min < 0) factor = std::min(factor, whole.min / channel.min);
  return std::max(factor, 1.0f);
}

// The factors of a group's channels; empty if its ranges are not known.
std::vector<float> choose_factors(const ChannelGroup& group, const Annotation& annotation,
                                  const Calibration& calibration) {
  std::vector<float> factors(static_cast<size_t>(group.channels), kMaxFactor);
  for (const ValueId value : group.values) {
    const Collector* collector = calibration.collectors[static_cast<size_t>(value)].get();
    if (collector == nullptr || collector->channel_ranges().size() != factors.size()) return {};
    const auto producer = static_cast<size_t>(annotation.producers[static_cast<size_t>(value)]);
    const StaticQuantConfig& config = *annotation.nodes[producer].config;
    // What lies outside the chosen range stays as it is; nothing else may come to lie outside.
    const auto range = activation_range(*collector, /*is_input=*/false, config);
    if (!range) return {};
    for (size_t c = 0; c < factors.size(); ++c) {
      factors[c] =
          std::min(factors[c], room(*range, collector->channel_ranges()[c], config.act_sym));
    }
  }
  return factors;
}

}  // namespace

void want_channel_ranges(const Graph& graph, const Annotation& annotation,
                         std::vector<WantedValue>& wanted) {
  for (const ChannelGroup& group : find_channel_groups(graph, annotation, kActivationRules)) {
    for (const ValueId value : group.values)
      wanted[static_cast<size_t>(value)].options.per_channel = true;
  }
}

Status equalize_channels(Graph& graph, const Annotation& annotation, const Calibration& calibration,
                         ChannelStats& stats, WeightRounder& rounder) {
  for (const ChannelGroup& group : find_channel_groups(graph, annotation, kActivationRules)) {
    const std::vector<float> up = choose_factors(group, annotation, calibration);
    if (std::ranges::all_of(up, [](float factor) { return factor == 1; })) continue;
    OCTAVO_TRY(scale_channels(graph, group, up));
    for (const ValueId value : group.values) {
      stats.scale(value, up);
      rounder.scale(value, up);
    }
    rename_values(graph, group);
  }
  return {};
}

}  // namespace octavo
