// What quantization did to a model, for people (one HTML file that needs no network) and programs.
#pragma once

#include <string>
#include <vector>

#include "core/diagnosis/diagnose.h"
#include "core/tuning/tuner.h"

namespace octavo {

struct Report {
  std::string float_model, quantized_model;  // how the reader knows them: file names
  std::string data;
  Diagnosis diagnosis;
  std::optional<ErrorSources> sources = {};
  std::optional<TuningResult> tuning = {};
};

/// A self-contained page: inline styles and SVG, no scripts.
std::string report_html(const Report& report);
/// The same as JSON.
std::string report_json(const Report& report);

}  // namespace octavo
