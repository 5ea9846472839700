#include "core/passes/passes.h"

namespace octavo {

Status run_passes(Graph& graph, std::span<const Pass> passes, const PassOptions& options) {
  int count = 0;
  for (const Pass& pass : passes) {
    if (options.stop_after >= 0 && count >= options.stop_after) break;
    ++count;
    auto changes = pass.run(graph);
    if (!changes) {
      Error error = std::move(changes).error();
      error.message = concat("pass '", pass.name, "': ", error.message);
      return std::unexpected(std::move(error));
    }
    if (options.after) options.after(pass.name, graph);
  }
  return {};
}

std::span<const Pass> optimize_passes() { return {}; }
std::span<const Pass> collapse_passes() { return {}; }
std::span<const Pass> execution_passes() { return {}; }

}  // namespace octavo
