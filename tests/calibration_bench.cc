// What calibrating costs beside a plain float pass, with every collector at once:
//   build/native/tests/octavo_calibration_bench MODEL DATA PREPROCESS SAMPLES
// Both passes take each sample in turn, on one thread. Prints one JSON object.

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "core/calibration/calibrate.h"
#include "core/calibration/range.h"
#include "core/config/static_quant_config.h"
#include "native/dataset.h"
#include "native/model_file.h"

namespace octavo {
namespace {

std::span<const char* const> algorithms() {
  return find_option(StaticQuantConfig::fields(), "act_algorithm")->choices;
}

class Stopwatch {
 public:
  template <class Fn>
  auto time(Fn&& fn) {
    const auto start = std::chrono::steady_clock::now();
    auto result = fn();
    ms_ +=
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return result;
  }
  double ms() const { return ms_; }

 private:
  double ms_ = 0;
};

Status run(char** arguments) {
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(arguments[1]));
  OCTAVO_ASSIGN(PreprocessConfig preprocess, parse_preprocess(arguments[3]));
  DatasetOptions options{.preprocess = std::move(preprocess)};
  options.limit = std::atoll(arguments[4]);
  OCTAVO_ASSIGN(const auto data, Dataset::open(arguments[2], loaded.model.graph(), options));
  OCTAVO_ASSIGN(Session session, loaded.model.create_session());

  // Every float value that is computed, as quantization would ask for at most.
  const Graph& graph = loaded.model.graph();
  std::vector<WantedValue> wanted(graph.values.size());
  for (size_t v = 0; v < wanted.size(); ++v) {
    if (graph.values[v].constant.present() || graph.values[v].dtype != DType::kF32) continue;
    wanted[v] = {true, {.histogram = true, .per_channel = graph.values[v].shape.rank() >= 2}};
  }
  OCTAVO_ASSIGN(const auto calibrator, Calibrator::create(loaded.model.shared_graph(), wanted));
  Stopwatch plain, calibration, ranges;
  int64_t samples = 0;
  while (true) {
    OCTAVO_ASSIGN(const auto feeds, data->next());
    if (!feeds) break;
    const auto outputs = plain.time([&] { return session.run(*feeds); });
    if (!outputs) return std::unexpected(outputs.error());
    OCTAVO_TRY(calibration.time([&] { return calibrator->observe(*feeds); }));
    ++samples;
  }
  int64_t tensors = 0;
  for (const auto& collector : calibrator->calibration().collectors) {
    if (collector == nullptr || !collector->seen()) continue;
    ++tensors;
    for (const char* algorithm : algorithms()) {
      const auto range = ranges.time([&] {
        return choose_range(*collector, {.algorithm = algorithm, .grid = Grid::kSymmetric});
      });
      if (!range) return std::unexpected(range.error());
    }
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"samples\": %lld, \"tensors\": %lld, \"plain_ms\": %.1f, \"calibrate_ms\": %.1f, "
      "\"ranges_ms\": %.1f, \"ratio\": %.3f, \"peak_mb\": %.1f}\n",
      static_cast<long long>(samples), static_cast<long long>(tensors), plain.ms(),
      calibration.ms(), ranges.ms(), (calibration.ms() + ranges.ms()) / plain.ms(),
      static_cast<double>(usage.ru_maxrss) / 1024);
  return {};
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s MODEL DATA PREPROCESS SAMPLES\n", argv[0]);
    return 2;
  }
  if (const auto status = octavo::run(argv); !status) {
    std::fprintf(stderr, "%s\n", status.error().to_string().c_str());
    return 1;
  }
  return 0;
}
