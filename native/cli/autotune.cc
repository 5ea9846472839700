// octavo autotune: finds a recipe that keeps the accuracy.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>

#include "core/report/report.h"
#include "core/text.h"
#include "core/tuning/decision.h"
#include "core/tuning/journal.h"
#include "native/calibration_folder.h"
#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/files.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string model, output, config_file, calib_data, journal, report;
  DataOptions data;
  CalibrationOptions calibration;
  RunConfig run;
  std::string metric = "top1";
  std::map<std::string, std::string> fields;  // of TuningConfig, given on the command line
  bool resume = false, json = false;
};

Result<TuningConfig> make_config(const Options& options) {
  TuningConfig config;
  if (!options.config_file.empty()) {
    OCTAVO_ASSIGN(config, read_config<TuningConfig>(options.config_file));
  }
  for (const OptionDef& option : TuningConfig::fields()) {
    const auto given = options.fields.find(option.name);
    if (given == options.fields.end()) continue;
    if (const Status set = set_option(option, config, given->second); !set) {
      throw CLI::ValidationError(flag_name(option.name), set.error().message);
    }
  }
  if (const Status valid = config.validate(); !valid) {
    throw CLI::ValidationError("tuning", valid.error().message);
  }
  return config;
}

/// The journal file: read to resume, then appended to, line by line.
class JournalFile {
 public:
  Result<std::string> open(const std::string& path, bool resume) {
    std::string before;
    if (resume) {
      OCTAVO_ASSIGN(const auto bytes, read_file(path));
      before.assign(bytes.begin(), bytes.end());
      // What was cut off is written again.
      const size_t end = before.rfind('\n');
      before.resize(end == std::string::npos ? 0 : end + 1);
    } else if (std::filesystem::exists(path)) {
      return fail(ErrorCode::kInvalidArgument, "the journal '", path,
                  "' exists; pass --resume to go on with it, or another name");
    }
    file_.open(path, std::ios::binary | (resume ? std::ios::in | std::ios::out : std::ios::out));
    file_.seekp(static_cast<std::streamoff>(before.size()));
    if (!file_) return fail(ErrorCode::kIo, "cannot write the journal '", path, "'");
    return before;
  }
  Status write(std::string_view line) {
    file_.write(line.data(), static_cast<std::streamsize>(line.size()));
    file_.flush();
    return file_ ? Status() : fail(ErrorCode::kIo, "cannot write the journal");
  }

 private:
  std::fstream file_;
};

void print_result(const Options& options, const TuningConfig& config, const TuningResult& result,
                  int64_t file_bytes) {
  Table table({"trial", "accuracy", "loss", "size", "median", "", "what"});
  const auto add = [&](const TrialRecord& r) {
    const bool on_front = std::ranges::contains(result.pareto, r.index);
    table.add({r.index == 0 ? "float" : std::to_string(r.index),
               r.ok() ? format_number(r.accuracy, 4) : "failed",
               r.ok() ? format_number(r.loss, 4) : "-", format_bytes(r.size_bytes),
               r.latency_ms ? format_ms(*r.latency_ms) : "-",
               concat(r.index == result.best ? "best " : "", r.holds ? "holds " : "",
                      on_front ? "pareto" : ""),
               r.ok() ? concat(r.phase, ": ", r.description) : r.error});
  };
  add(result.baseline);
  for (const TrialRecord& record : result.trials) add(record);
  table.print();
  std::printf("\n%s\nover: %s\n", result.decision.c_str(), result.stopped.c_str());
  if (file_bytes > 0) {
    std::printf("%s written, %s\n", options.output.c_str(), format_bytes(file_bytes).c_str());
  } else {
    std::printf("%s not written: no recipe keeps the loss within %s\n", options.output.c_str(),
                format_number(config.tolerable_loss, 4).c_str());
  }
}

Result<int> autotune_verb(const Options& options) {
  OCTAVO_ASSIGN(const TuningConfig config, make_config(options));
  OCTAVO_TRY(check_output("--output", options.output, kModelEndings,
                          {options.model, options.data.path, options.calib_data}));
  if (!options.report.empty()) {
    OCTAVO_TRY(check_output("--report", options.report, kReportEndings, {options.config_file}));
  }
  if (options.resume && options.journal.empty()) {
    throw CLI::ValidationError("--resume", "name the journal to go on with: --journal FILE");
  }
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  const Graph& graph = loaded.model.graph();
  OCTAVO_ASSIGN(const auto data, open_data(options.data, graph));
  DataOptions calib_options = options.data;
  if (!options.calib_data.empty()) {
    calib_options.path = options.calib_data;
    calib_options.labels.clear();
    calib_options.limit = 0;
  }
  OCTAVO_ASSIGN(const auto calib, open_data(calib_options, graph));

  OCTAVO_ASSIGN(const SessionOptions session, make_session_options(options.run));
  AutotuneOptions tune;
  tune.pool = session.pool;
  if (!options.calibration.cache.empty()) {
    OCTAVO_ASSIGN(tune.calib_store, open_calibration_folder(options.calibration.cache));
  }
  tune.clock = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  JournalFile journal;
  if (!options.journal.empty()) {
    OCTAVO_ASSIGN(tune.resume, journal.open(options.journal, options.resume));
    tune.journal = [&](std::string_view line) { return journal.write(line); };
  }
  tune.on_trial = [](const TrialRecord&, const std::string& message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    return true;
  };
  const EvalFn eval_fn = [&](const Model& model) -> Result<EvalResult> {
    OCTAVO_TRY(data->rewind());
    OCTAVO_ASSIGN(Session runner, model.create_session(session));
    Progress progress("evaluate");
    OCTAVO_ASSIGN(const Evaluation evaluation,
                  evaluate(runner, *data, options.metric == "top5" ? 5 : 1, progress.fn()));
    return EvalResult(evaluation.accuracy.share(), evaluation.median_ms);
  };
  OCTAVO_ASSIGN(const TuningResult result, autotune(loaded.model, config, eval_fn, calib.get(),
                                                    options.calibration.iteration, {}, tune));
  // Without success the nearest model is in the journal's recipe, but not what was asked for.
  int64_t file_bytes = 0;
  if (result.success) {
    OCTAVO_ASSIGN(file_bytes, save_model(result.model->model, options.output));
  }
  if (!options.report.empty()) {
    OCTAVO_TRY(calib->rewind());
    Report report{.float_model = options.model,
                  .quantized_model = options.output,
                  .data = calib_options.path,
                  .tuning = result};
    OCTAVO_TRY(
        fill_report(loaded.model, result.model->model, *calib, {.pool = session.pool}, report));
    OCTAVO_TRY(write_report(report, options.report));
  }
  if (options.json) {
    Json json = Json::parse(tuning_json(result), nullptr, false);
    json["model"] = options.model;
    json["output"] = result.success ? Json(options.output) : Json(nullptr);
    json["file_bytes"] = file_bytes;
    print_json(json);
  } else {
    print_result(options, config, result, file_bytes);
  }
  return result.success ? 0 : 1;
}

}  // namespace

Verb add_autotune(CLI::App& app) {
  CLI::App* verb = app.add_subcommand(
      "autotune", "Find a recipe whose quantized model keeps the accuracy on labelled data");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Float model (.onnx or .octavo)")->required();
  verb->add_option("-o,--output", options->output, "Best model: .onnx (QDQ) or .octavo")
      ->required();
  add_data_options(*verb, options->data, /*with_labels=*/true);
  verb->add_option("--calib-data", options->calib_data,
                   "Calibration data, read as --data is; else --data");
  add_calibration_options(*verb, options->calibration);
  verb->add_option("--metric", options->metric,
                   "Share of samples whose label scores best, or among the best 5")
      ->check(CLI::IsMember({"top1", "top5"}))
      ->capture_default_str();
  verb->add_option("--config", options->config_file,
                   "JSON file with the options below and config_set; flags override it");
  verb->add_option("--journal", options->journal, "JSONL file of the trials");
  verb->add_flag("--resume", options->resume, "Go on with the journal");
  verb->add_option("--report", options->report,
                   "Page (.html) or JSON of the trials and of where the best model loses accuracy");
  const TuningConfig defaults;
  for (const OptionDef& field : TuningConfig::fields()) {
    CLI::Option* option = verb->add_option_function<std::string>(
                                  flag_name(field.name),
                                  [options, name = field.name](const std::string& text) {
                                    options->fields[name] = text;
                                  },
                                  field.help)
                              ->default_str(option_text(field, defaults))
                              ->group("Tuning");
    if (!field.choices.empty()) {
      option->check(
          CLI::IsMember(std::vector<std::string>(field.choices.begin(), field.choices.end())));
    }
  }
  add_run_options(*verb, options->run, {"backend", "device"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return autotune_verb(*options); }};
}

}  // namespace octavo::cli
