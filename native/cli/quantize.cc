// octavo quantize: float model and calibration data in, quantized model out.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/files.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

using Field = OptionDef<StaticQuantConfig>;

/// Calibration samples on which the result is compared with the float model.
constexpr int64_t kCheckSamples = 20;

struct Options {
  std::string model, output, config_file, eval_data, eval_labels;
  DataOptions data;
  RunOptions run;
  int64_t calib_iteration = 100;
  std::map<std::string, std::string> fields;  // given on the command line, as text
  std::vector<std::string> local;
  bool json = false, check = true;
};

std::string flag_name(const Field& field) {
  std::string name = concat("--", field.name);
  std::ranges::replace(name, '_', '-');
  return name;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

void set_field(StaticQuantConfig& config, const Field& field, const std::string& option,
               const std::string& value) {
  if (field.text != nullptr) {
    config.*field.text = value;
  } else if (field.list != nullptr) {
    config.*field.list = split(value, ',');
  } else if (value == "true" || value == "1" || value == "false" || value == "0") {
    config.*field.flag = value == "true" || value == "1";
  } else {
    throw CLI::ValidationError(option, concat("'", value, "' is neither true nor false"));
  }
}

/// NAME=FIELD:VALUE,FIELD:VALUE: what the fields do not say is as in the global configuration.
void set_local(StaticQuantConfig& config, const std::string& text) {
  const std::string option = "--set-local";
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw CLI::ValidationError(option, concat("'", text, "' must be NAME=FIELD:VALUE,..."));
  }
  StaticQuantConfig local = config;
  local.local.clear();
  for (const std::string& part : split(text.substr(equals + 1), ',')) {
    const size_t colon = part.find(':');
    std::string name = part.substr(0, colon);
    std::ranges::replace(name, '-', '_');
    std::vector<std::string> names;
    const Field* found = nullptr;
    for (const Field& field : StaticQuantConfig::fields()) {
      names.emplace_back(field.name);
      if (name == field.name) found = &field;
    }
    if (found == nullptr || colon == std::string::npos) {
      const std::string nearest = nearest_name(name, names);
      throw CLI::ValidationError(option, concat("'", part, "' must be FIELD:VALUE",
                                                nearest.empty() || found != nullptr
                                                    ? ""
                                                    : concat("; did you mean '", nearest, "'?")));
    }
    set_field(local, *found, option, part.substr(colon + 1));
  }
  config.set_local(text.substr(0, equals), local);
}

Result<StaticQuantConfig> make_config(const Options& options) {
  StaticQuantConfig config;
  if (!options.config_file.empty()) {
    OCTAVO_ASSIGN(const MappedFile file, map_file(options.config_file));
    auto parsed = StaticQuantConfig::from_json(
        {reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
    if (!parsed) {
      return fail(parsed.error().code, "'", options.config_file, "': ", parsed.error().message);
    }
    config = *std::move(parsed);
  }
  for (const Field& field : StaticQuantConfig::fields()) {
    const auto given = options.fields.find(field.name);
    if (given != options.fields.end()) set_field(config, field, flag_name(field), given->second);
  }
  for (const std::string& local : options.local) set_local(config, local);
  if (const Status valid = config.validate(); !valid) {
    throw CLI::ValidationError("quantization", valid.error().message);
  }
  return config;
}

void check_output(const Options& options) {
  if (!has_model_extension(options.output)) {
    throw CLI::ValidationError("--output",
                               concat("'", options.output, "' must end in .onnx or .octavo"));
  }
  for (const std::string& input : {options.model, options.data.path, options.config_file}) {
    if (is_same_file(options.output, input)) {
      throw CLI::ValidationError("--output", concat("'", options.output, "' is an input file"));
    }
  }
}

/// Before the long work, not after it.
Status check_output_folder(const std::string& output) {
  const std::filesystem::path folder = std::filesystem::path(output).parent_path();
  std::error_code error;
  if (!folder.empty() && !std::filesystem::is_directory(folder, error)) {
    return fail(ErrorCode::kNotFound, "the folder '", folder.string(),
                "' for the output does not exist");
  }
  return {};
}

Result<SideBySide> check_result(const Options& options, const Model& before, const Model& after) {
  const SessionOptions session = session_options(options.run);
  DataOptions check_data = options.data;
  if (options.eval_data.empty()) {
    check_data.limit =
        check_data.limit > 0 ? std::min(check_data.limit, kCheckSamples) : kCheckSamples;
  } else {
    check_data.path = options.eval_data;
    check_data.labels = options.eval_labels;
    check_data.limit = 0;
  }
  OCTAVO_ASSIGN(const auto data, open_data(check_data, before.graph()));
  OCTAVO_ASSIGN(Session reference, before.create_session(session));
  OCTAVO_ASSIGN(Session quantized, after.create_session(session));
  Progress progress("check");
  return run_side_by_side(reference, quantized, *data, progress.fn());
}

struct Outcome {
  int64_t file_bytes[2] = {0, 0};
  QuantizeReport report;
  std::optional<SideBySide> check;
  double seconds = 0;
};

Json to_json(const Options& options, const StaticQuantConfig& config, const Outcome& outcome) {
  const QuantizeReport& report = outcome.report;
  Json nodes = Json::array();
  for (const NodeReport& node : report.nodes) {
    nodes.push_back({{"name", node.name},
                     {"op", node.op},
                     {"quantized", node.quantized},
                     {"weights", node.weights},
                     {"activations", node.activations},
                     {"reason", node.reason}});
  }
  Json json = {{"model", options.model},
               {"output", options.output},
               {"float_file_bytes", outcome.file_bytes[0]},
               {"quantized_file_bytes", outcome.file_bytes[1]},
               {"size_ratio", static_cast<double>(outcome.file_bytes[1]) /
                                  static_cast<double>(std::max<int64_t>(outcome.file_bytes[0], 1))},
               {"float_constant_bytes", report.float_bytes},
               {"quantized_constant_bytes", report.quantized_bytes},
               {"samples", report.samples},
               {"seconds", outcome.seconds},
               {"config", Json::parse(config.to_json(), nullptr, false)},
               {"warnings", report.warnings},
               {"nodes", std::move(nodes)}};
  if (outcome.check) {
    const SideBySide& check = *outcome.check;
    json["check"] = {{"data", options.eval_data.empty() ? options.data.path : options.eval_data},
                     {"samples", check.samples},
                     {"agreement", check.agreement},
                     {"output_sqnr_db", check.sqnr_db},
                     {"float_median_ms", check.median_ms[0]},
                     {"quantized_median_ms", check.median_ms[1]}};
    if (check.has_labels) {
      json["check"]["float_top1"] = check.top1[0].share();
      json["check"]["quantized_top1"] = check.top1[1].share();
    }
  }
  return json;
}

void print_report(const Options& options, const Outcome& outcome) {
  const QuantizeReport& report = outcome.report;
  std::map<std::string, int> quantized;  // by operator and types
  Table left({"stayed float", "op", "why"});
  for (const NodeReport& node : report.nodes) {
    if (!node.quantized) {
      left.add({node.name, node.op, node.reason});
      continue;
    }
    std::string types = node.activations;
    if (!node.weights.empty()) types += concat(types.empty() ? "" : ", ", "weights ", node.weights);
    ++quantized[concat(node.op, "\n", types)];
  }
  if (!quantized.empty()) {
    Table table({"quantized", "count", "types"});
    for (const auto& [key, count] : quantized) {
      const size_t newline = key.find('\n');
      table.add({key.substr(0, newline), std::to_string(count), key.substr(newline + 1)});
    }
    table.print();
    std::printf("\n");
  }
  if (!left.empty()) {
    left.print();
    std::printf("\n");
  }
  std::vector<std::string> header = {"model", "file"},
                           before = {"float", format_bytes(outcome.file_bytes[0])},
                           after = {"quantized", format_bytes(outcome.file_bytes[1])};
  const auto column = [&](const char* title, std::string a, std::string b) {
    header.emplace_back(title);
    before.push_back(std::move(a));
    after.push_back(std::move(b));
  };
  column("of float", "100.0 %",
         concat(format_number(100.0 * static_cast<double>(outcome.file_bytes[1]) /
                                  static_cast<double>(std::max<int64_t>(outcome.file_bytes[0], 1)),
                              1),
                " %"));
  if (outcome.check) {
    const SideBySide& check = *outcome.check;
    column("median", format_ms(check.median_ms[0]), format_ms(check.median_ms[1]));
    if (check.has_labels) {
      column("top-1", format_percent(check.top1[0].share()), format_percent(check.top1[1].share()));
    }
    column("agreement", "-", format_percent(check.agreement));
    column("output SQNR", "-", concat(format_number(check.sqnr_db, 1), " dB"));
  }
  Table summary(header);
  summary.add(before);
  summary.add(after);
  summary.print();
  for (const std::string& warning : report.warnings) {
    std::printf("%s %s\n", colored("warning:", Color::kYellow).c_str(), warning.c_str());
  }
  std::printf("\n%s written in %s s; calibrated on %lld samples", options.output.c_str(),
              format_number(outcome.seconds, 1).c_str(), static_cast<long long>(report.samples));
  if (outcome.check) {
    std::printf("; %s on %lld samples of '%s'", outcome.check->has_labels ? "accuracy" : "compared",
                static_cast<long long>(outcome.check->samples),
                (options.eval_data.empty() ? options.data.path : options.eval_data).c_str());
  }
  std::printf("\n");
}

Result<int> quantize(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  check_output(options);
  OCTAVO_ASSIGN(const StaticQuantConfig config, make_config(options));
  OCTAVO_TRY(check_output_folder(options.output));
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(const auto data, open_data(options.data, loaded.model.graph()));
  QuantizedModel quantized;
  {
    Progress progress("calibrate");
    const int64_t feeds = (data->size() + data->batch() - 1) / data->batch();
    QuantizeOptions quantize_options;
    quantize_options.progress = [&](int64_t done, int64_t total) {
      progress.update(done, std::min(total > 0 ? total : feeds, feeds));
      return true;
    };
    quantize_options.pool = session_options(options.run).pool;
    OCTAVO_ASSIGN(quantized, quantize_model(loaded.model, config, data.get(),
                                            options.calib_iteration, {}, quantize_options));
  }
  Outcome outcome{.report = std::move(quantized.report)};
  outcome.file_bytes[0] = loaded.file_bytes;
  OCTAVO_ASSIGN(outcome.file_bytes[1], save_model(quantized.model, options.output));
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.check) {
    // The file is written: a comparison that cannot be made is no failure.
    auto check = check_result(options, loaded.model, quantized.model);
    if (check) {
      outcome.check = *check;
    } else {
      outcome.report.warnings.push_back(
          concat("not compared with the float model: ", check.error().to_string()));
    }
  }
  if (options.json) {
    print_json(to_json(options, config, outcome));
  } else {
    print_report(options, outcome);
  }
  return 0;
}

}  // namespace

Verb add_quantize(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("quantize", "Quantize a float model with calibration data");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Float model (.onnx or .octavo)")->required();
  verb->add_option("-o,--output", options->output, "Quantized model: .onnx (QDQ) or .octavo")
      ->required();
  add_data_options(*verb, options->data, /*with_labels=*/true);
  verb->add_option("--calib-iteration", options->calib_iteration,
                   "Samples (batches) used for calibration")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--config", options->config_file, "JSON file; the flags below override it");
  verb->add_option(
          "--set-local", options->local,
          "NAME=FIELD:VALUE,... for the nodes of that name, glob or operator type; repeatable")
      ->take_all();
  verb->add_option(
      "--eval-data", options->eval_data,
      "Labelled data for the comparison with the float model; else the first calibration samples");
  verb->add_option("--eval-labels", options->eval_labels, "Labels of --eval-data");
  verb->add_flag("--check,!--no-check", options->check,
                 "Compare the result with the float model (default)");
  add_run_options(*verb, options->run);
  add_json_flag(*verb, options->json);

  const StaticQuantConfig defaults;
  for (const Field& field : StaticQuantConfig::fields()) {
    std::string value;
    if (field.text != nullptr) value = defaults.*field.text;
    if (field.flag != nullptr) value = defaults.*field.flag ? "true" : "false";
    if (field.list != nullptr) value = "*";
    CLI::Option* option = verb->add_option_function<std::string>(
                                  flag_name(field),
                                  [options, name = field.name](const std::string& text) {
                                    options->fields[name] = text;
                                  },
                                  field.help)
                              ->default_str(value)
                              ->group("Quantization");
    if (field.text != nullptr) {
      option->check(
          CLI::IsMember(std::vector<std::string>(field.choices.begin(), field.choices.end())));
    }
    if (field.flag != nullptr) option->check(CLI::IsMember({"true", "false", "1", "0"}));
  }
  return {verb, [options] { return quantize(*options); }};
}

}  // namespace octavo::cli
