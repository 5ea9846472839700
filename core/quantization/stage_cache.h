// What finished stages and calibrations found, for other recipes over the same model and data:
// tuning tries many that begin alike, and a store keeps calibrations from one run to the next.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/calibration/calibrate.h"
#include "core/octavo.h"
#include "core/quantization/channel_stats.h"

namespace octavo {

/// What a pass over the calibration data found out about a graph's values.
struct Collected {
  std::shared_ptr<const Calibration> calibration;
  ChannelStats stats;
  std::vector<std::string> warnings = {};  // about the data

  /// It holds what would be asked for.
  bool serves(const std::vector<WantedValue>& wanted, const ChannelStats& watched) const;
  Bytes to_bytes() const;
  /// nullopt if the bytes are not what to_bytes made of values of this graph.
  static std::optional<Collected> from_bytes(const Graph& graph, std::span<const uint8_t> bytes);
};

class StageCache {
 public:
  explicit StageCache(std::shared_ptr<CalibrationStore> store = nullptr)
      : store_(std::move(store)) {}

  /// The calibration data, known when they have been read through once.
  struct Data {
    std::string hash;
    int64_t samples = 0;
  };
  std::optional<Data> data;
  bool wants_data_first() const { return store_ != nullptr && !data; }

  /// What the first stages of a recipe made.
  struct Prefix {
    std::shared_ptr<const Graph> graph;
    QuantizeReport report;
  };
  /// `stages`: JSON of the recipe's first stages.
  const Prefix* find(const std::string& stages) const {
    const auto found = prefixes_.find(stages);
    return found == prefixes_.end() ? nullptr : &found->second;
  }
  void store(const std::string& stages, Prefix prefix) {
    prefixes_.insert_or_assign(stages, std::move(prefix));
  }

  /// What calibrating the graph found, in memory or in the store; nullptr if it is not known.
  /// `deterministic`: QuantizeOptions::deterministic.
  Result<const Collected*> find_collected(const Graph& graph, bool deterministic);
  Status store_collected(const Graph& graph, bool deterministic, Collected collected);

 private:
  std::map<std::string, Prefix> prefixes_;
  std::map<std::string, Collected> collected_;  // by the graph's hash
  std::shared_ptr<CalibrationStore> store_;
};

}  // namespace octavo
