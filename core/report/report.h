// What quantization did to a model, for people (one HTML file that needs no network) and programs.
#pragma once

#include <string>
#include <vector>

#include "core/diagnosis/diagnose.h"
#include "core/diagnosis/sensitivity.h"
#include "core/tuning/tuner.h"

namespace octavo {

struct Report {
  std::string float_model, quantized_model;  // how the reader knows them: file names
  std::string data;
  Diagnosis diagnosis;
  std::optional<ErrorSources> sources = {};
  std::string hint = {};  // what to do if single operators cannot be judged
  /// Of the operators that add most error by themselves, the most sensitive first.
  std::vector<OpSensitivity> sensitivity = {};
  std::optional<TuningResult> tuning = {};
};

/// Fills a report's diagnosis, sources and sensitivity while the data stream by.
class Reporter {
 public:
  static Result<Reporter> create(const Model& float_model, const Model& quantized,
                                 const std::shared_ptr<ThreadPool>& pool = nullptr);
  Status observe(const NamedTensors& feeds);
  /// `progress`: operators ranked. Error kInvalidArgument if there were no samples.
  Status finish(Report& report, const ProgressFn& progress = {});

 private:
  Reporter(Diagnoser diagnoser, ErrorSourceFinder sources, SensitivityRanker ranker)
      : diagnoser_(std::move(diagnoser)),
        sources_(std::move(sources)),
        ranker_(std::move(ranker)) {}

  Diagnoser diagnoser_;
  ErrorSourceFinder sources_;
  SensitivityRanker ranker_;
  int64_t samples_ = 0;
};

/// A self-contained page: inline styles and SVG, no scripts.
std::string report_html(const Report& report);
/// The same as JSON.
std::string report_json(const Report& report);

}  // namespace octavo
