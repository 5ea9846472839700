// The verbs of the command line, one file each; main.cc only puts them together.
#pragma once

#include <array>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/octavo.h"
#include "native/dataset.h"
#include "native/files.h"
#include "native/run_config.h"
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace octavo {
struct Report;
}

namespace octavo::cli {

using Json = nlohmann::ordered_json;

/// Runs a verb after its options are parsed; gives the exit code, 0 or 1. Throws CLI::ParseError
/// for wrong usage that parsing alone cannot see.
using VerbFn = std::function<Result<int>()>;
struct Verb {
  CLI::App* app;
  VerbFn run;
};

Verb add_quantize(CLI::App& app);
Verb add_run(CLI::App& app);
Verb add_eval(CLI::App& app);
Verb add_autotune(CLI::App& app);
Verb add_compare(CLI::App& app);
Verb add_report(CLI::App& app);
Verb add_bench(CLI::App& app);
Verb add_schema(CLI::App& app);
Verb add_test(CLI::App& app);
Verb add_inspect(CLI::App& app);
Verb add_backends(CLI::App& app);
Verb add_verify(CLI::App& app);

// Options that several verbs have, and what follows from them.

/// "--weight-dtype" for the config option "weight_dtype".
std::string flag_name(std::string_view option);

/// The options of RunConfig: --threads, and those named.
void add_run_options(CLI::App& app, RunConfig& options,
                     std::initializer_list<std::string_view> more = {});
/// How a backend computes in f32, bf16 or f16 here: "native (AMX)", "native", "native
/// (convolutions)" or "emulated".
std::string_view arithmetic(std::string_view backend, DType dtype);  // backends.cc
/// Of a model in half precision for which the backend has no instructions here; empty: of others.
std::string emulation_warning(const Graph& graph, std::string_view backend);  // backends.cc
/// Says on stderr what is wrong with the file of packed weights and what is emulated, if anything.
void print_problems(const Graph& graph, const RunConfig& run, const SessionOptions& options);

/// Of an option that takes whole numbers.
CLI::Validator at_least(int64_t least);

struct DataOptions {
  std::string path, labels, preprocess = "none";
  int64_t limit = 0;
};
/// --data, --preprocess and, if `with_labels`, --labels; --limit.
void add_data_options(CLI::App& app, DataOptions& options, bool with_labels, bool required = true);
Result<std::unique_ptr<Dataset>> open_data(const DataOptions& options, const Graph& graph);

struct CalibrationOptions {
  int64_t iteration = 100;
  std::string cache;  // a folder, or none
};
/// --calib-iteration and --calib-cache.
void add_calibration_options(CLI::App& app, CalibrationOptions& options);

/// The threads that quantization, comparisons and reports run models on, comparisons' backends.
Result<QuantizeOptions> make_quantize_options(const RunConfig& run);

/// A recipe or a TuningConfig from a JSON file, which errors name.
template <class C>
Result<C> read_config(const std::string& path) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(path));
  auto config = C::from_json({reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
  if (!config) config.error().message = concat("'", path, "': ", config.error().message);
  return config;
}

/// Before long work: the file's name ends in one of two ways and is none of `inputs`, or else
/// CLI::ValidationError is thrown; it can be written, or else this is the error.
Status check_output(const std::string& flag, const std::string& path,
                    const std::array<const char*, 2>& endings,
                    std::initializer_list<std::string> inputs);
inline constexpr std::array kReportEndings = {".html", ".json"};

void add_json_flag(CLI::App& app, bool& json);
/// Prints the verb's one object on stdout. Bytes that are no UTF-8 are replaced.
void print_json(const Json& object);

/// Fills what a report says of two models on data, showing progress (report.cc).
Status fill_report(const Model& reference, const Model& quantized, Dataset& data,
                   const QuantizeOptions& run, Report& report);
/// As a page, or as JSON if the path ends in .json.
Status write_report(const Report& report, const std::string& path);

/// "NAME=VALUE" split at the first "=" that leaves one of `names`; VALUE alone if there is one
/// name. Error kNotFound if no name fits; throws CLI::ValidationError if there is no "=".
Result<std::pair<std::string, std::string>> split_assignment(const std::string& option,
                                                             const std::string& text,
                                                             std::span<const std::string> names);
std::vector<std::string> input_names(const Graph& graph);

/// A feed for every --input NAME=FILE.npy.
Result<NamedTensors> read_inputs(const Graph& graph, const std::vector<std::string>& assignments);

}  // namespace octavo::cli
