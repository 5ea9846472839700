// Options that several verbs have.
#include <algorithm>
#include <charconv>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/npy.h"
#include "native/weight_cache_file.h"

namespace octavo::cli {

std::string flag_name(std::string_view option) {
  std::string name = concat("--", option);
  std::ranges::replace(name, '_', '-');
  return name;
}

void add_run_options(CLI::App& app, RunConfig& options,
                     std::initializer_list<std::string_view> more) {
  for (const RunConfig::Field& field : RunConfig::fields()) {
    if (!field.everywhere && !std::ranges::contains(more, field.name)) continue;
    const std::string flag = flag_name(field.name);
    if (field.text != nullptr) {
      CLI::Option* option = app.add_option(flag, options.*field.text, field.help);
      if (field.choices.empty()) continue;
      option
          ->check(
              CLI::IsMember(std::vector<std::string>(field.choices.begin(), field.choices.end())))
          ->capture_default_str();
    } else {
      app.add_option(flag, options.*field.number, field.help)
          ->check(CLI::Range(0, 1024))
          ->capture_default_str();
    }
  }
}

void print_problems(const Graph& graph, const RunConfig& run, const SessionOptions& options) {
  const auto* file = dynamic_cast<const WeightCacheFile*>(options.weight_cache.get());
  for (const std::string& problem :
       {file == nullptr ? std::string() : file->problem(), emulation_warning(graph, run.backend)}) {
    if (problem.empty()) continue;
    std::fprintf(stderr, "%s %s\n", colored("warning:", Color::kYellow, stderr).c_str(),
                 problem.c_str());
  }
}

CLI::Validator at_least(int64_t least) {
  return {[least](const std::string& text) {
            int64_t value = 0;
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), value);
            const bool whole = error == std::errc() && end == text.data() + text.size();
            return whole && value >= least
                       ? std::string()
                       : concat("'", text, "' is no whole number from ", least, " on");
          },
          concat("from ", least)};
}

void add_data_options(CLI::App& app, DataOptions& options, bool with_labels, bool required) {
  app.add_option(
         "--data", options.path,
         "Folder of JPEG/PNG (with labels.csv or a folder per class), .npy, .npz or idx file")
      ->required(required);
  std::string fields;
  for (const PreprocessField& field : preprocess_fields()) {
    fields += concat("\n  ", field.name, ": ", field.help);
  }
  app.add_option(
         "--preprocess", options.preprocess,
         concat("none, unit (x/255), torch, tf, caffe, or a JSON object or file with", fields))
      ->capture_default_str();
  if (with_labels) {
    app.add_option("--labels", options.labels, "Labels: .npy, .csv (file,label) or idx");
  }
  app.add_option("--limit", options.limit, "Use only the first samples; 0: all")
      ->check(at_least(0));
}

void add_calibration_options(CLI::App& app, CalibrationOptions& options) {
  app.add_option("--calib-iteration", options.iteration, "Samples (batches) used for calibration")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("--calib-cache", options.cache,
                 "Folder that keeps calibrations: the same model and data are not run again");
}

Result<QuantizeOptions> make_quantize_options(const RunConfig& run) {
  OCTAVO_ASSIGN(const SessionOptions session, make_session_options(run));
  QuantizeOptions options;
  options.pool = session.pool;
  options.backends = session.backends;
  return options;
}

Status check_output(const std::string& flag, const std::string& path,
                    const std::array<const char*, 2>& endings,
                    std::initializer_list<std::string> inputs) {
  if (std::ranges::none_of(endings, [&](const char* end) { return path.ends_with(end); })) {
    throw CLI::ValidationError(flag,
                               concat("'", path, "' must end in ", endings[0], " or ", endings[1]));
  }
  for (const std::string& input : inputs) {
    if (is_same_file(path, input)) {
      throw CLI::ValidationError(flag, concat("'", path, "' is an input file"));
    }
  }
  return check_writable(path);
}

Result<std::unique_ptr<Dataset>> open_data(const DataOptions& options, const Graph& graph) {
  OCTAVO_ASSIGN(PreprocessConfig preprocess, parse_preprocess(options.preprocess));
  return Dataset::open(
      options.path, graph,
      {.preprocess = std::move(preprocess), .labels = options.labels, .limit = options.limit});
}

void add_json_flag(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "Print exactly one JSON object on stdout");
}

void print_json(const Json& object) {
  std::printf("%s\n", object.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

Result<std::pair<std::string, std::string>> split_assignment(const std::string& option,
                                                             const std::string& text,
                                                             std::span<const std::string> names) {
  for (size_t at = text.find('='); at != std::string::npos; at = text.find('=', at + 1)) {
    const std::string name = text.substr(0, at);
    if (std::ranges::contains(names, name)) return std::pair(name, text.substr(at + 1));
  }
  const size_t equals = text.find('=');
  if (equals == std::string::npos && names.size() == 1) return std::pair(names.front(), text);
  std::string known;
  for (const std::string& name : names) known += concat(known.empty() ? "'" : ", '", name, "'");
  if (equals == std::string::npos) {
    throw CLI::ValidationError(
        option, concat("'", text, "' must be NAME=VALUE; the model's inputs are ", known));
  }
  return fail(ErrorCode::kNotFound, option, ": the model has no input '", text.substr(0, equals),
              "'; its inputs are ", known, did_you_mean(text.substr(0, equals), names));
}

std::vector<std::string> input_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const ValueId id : graph.inputs) names.push_back(graph.value(id).name);
  return names;
}

Result<NamedTensors> read_inputs(const Graph& graph, const std::vector<std::string>& assignments) {
  const std::vector<std::string> names = input_names(graph);
  NamedTensors feeds;
  for (const std::string& assignment : assignments) {
    OCTAVO_ASSIGN(auto input, split_assignment("--input", assignment, names));
    auto& [name, file] = input;
    OCTAVO_ASSIGN(Tensor tensor, read_npy(file));
    feeds.emplace_back(std::move(name), std::move(tensor));
  }
  return feeds;
}

}  // namespace octavo::cli
