// How models run natively: the options that the command line, JSON and the API share.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/streams.h"

namespace octavo {

struct RunConfig {
  std::string backend = "default";
  std::string device = "auto";
  int threads = 0;
  std::string hint = "latency";  // of Streams (native/streams.h), and how many requests
  int batch = 1;                 // each of them joins
  std::string weight_cache;      // a file's name

  /// One option of the struct, listed once: flags and JSON keys follow from it.
  struct Field {
    const char* name;
    const char* help;
    std::string RunConfig::* text = nullptr;  // or
    int RunConfig::* number = nullptr;        // from 0 to 1024
    std::vector<const char*> choices = {};    // none: any text
    bool everywhere = true;                   // false: only some verbs of the command line have it
  };
  static std::span<const Field> fields();

  /// {"backend": "default", "device": "cpu", "threads": 4, "hint": "throughput"}, all optional.
  /// Errors: kInvalidArgument naming the option, its choices, or the nearest name.
  static Result<RunConfig> from_json(std::string_view json);
  std::string to_json() const;
  Status validate() const;

  PerformanceHint performance_hint() const {
    return hint == "throughput" ? PerformanceHint::kThroughput : PerformanceHint::kLatency;
  }
};

/// The backends and threads that the options ask for; made once and shared by sessions. Error
/// kUnavailable: the device is not there; says which part is missing.
Result<SessionOptions> make_session_options(const RunConfig& config);

}  // namespace octavo
