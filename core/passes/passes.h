// Graph passes. A pipeline is a literal list of named passes; it can be dumped and stopped after N.
#pragma once

#include <functional>
#include <span>

#include "core/graph_edit.h"

namespace octavo {

struct Pass {
  const char* name;
  Result<int> (*run)(Graph& graph);  // number of changes
};

/// Simplification with the same results: run at load, before calibration.
std::span<const Pass> optimize_passes();
/// Run after optimize_passes on models that hold QuantizeLinear / DequantizeLinear: turns them into
/// quantized values.
std::span<const Pass> collapse_passes();
/// What only execution cares about: run when a session is created, never before export.
std::span<const Pass> execution_passes();

/// Run after values became half precision.
std::span<const Pass> mixed_passes();

struct PassOptions {
  int stop_after = -1;  // run only so many passes; -1: all
  std::function<void(const char* pass, const Graph& graph)> after = {};  // dumps, tests
};
Status run_passes(Graph& graph, std::span<const Pass> passes, const PassOptions& options = {});

}  // namespace octavo
