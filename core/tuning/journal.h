// The journal of a tuning run: one JSON object a line, so that what was written before a crash can
// be used again.
//
//   {"octavo_tuning": 1, "version": "0.1.0", "model": hash, "config": {...}}
//   {"baseline": {"accuracy": 0.83, ...}}
//   {"analysis": "output_error", "values": [...]}
//   {"trial": 1, "phase": ..., "description": ..., "recipe": ..., "accuracy": ..., ...}
#pragma once

#include <map>

#include "core/tuning/tuner.h"

namespace octavo {

struct Journal {
  std::string model;
  std::optional<TrialRecord> baseline;
  std::vector<TrialRecord> trials;
  std::map<std::string, std::vector<double>> analyses;
};

/// A last line that was cut off is ignored. Errors: kInvalidArgument naming the line.
Result<Journal> read_journal(std::string_view text);

std::string journal_header(const std::string& model_hash, const TuningConfig& config);
std::string journal_line(const TrialRecord& record);
std::string journal_line(const std::string& analysis, const std::vector<double>& values);

/// JSON of a result, as reports and command lines show it.
std::string tuning_json(const TuningResult& result);

}  // namespace octavo
