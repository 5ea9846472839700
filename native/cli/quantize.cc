// octavo quantize: float model and calibration data in, quantized model out.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

#include "native/calibration_folder.h"
#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/model_file.h"
#include "runtime/op.h"

namespace octavo::cli {
namespace {

/// Calibration samples on which the result is compared with the float model.
constexpr int64_t kCheckSamples = 20;

struct Options {
  std::string model, output, config_file, eval_data, eval_labels;
  std::vector<std::string> stages;  // names
  DataOptions data;
  CalibrationOptions calibration;
  RunConfig run;
  int64_t eval_limit = 0;
  std::map<std::string, std::string> fields;  // given on the command line, as text
  std::vector<std::string> local;
  OnnxOptions onnx;
  bool json = false, check = true, explain = false, deterministic = false;
};

std::vector<std::string> option_names(std::span<const ConfigView> views) {
  std::vector<std::string> names;
  for (const ConfigView& view : views) {
    for (const OptionDef& option : view.fields) names.emplace_back(option.name);
  }
  return names;
}

void set_checked(const OptionDef& option, ConfigBase& config, const std::string& flag,
                 const std::string& value) {
  if (const Status set = set_option(option, config, value); !set) {
    throw CLI::ValidationError(flag, set.error().message);
  }
}

/// An option holds for every stage that has it.
void set_global(std::span<ConfigView> views, const std::string& name, const std::string& value) {
  bool any = false;
  for (const ConfigView& view : views) {
    const OptionDef* option = find_option(view.fields, name);
    if (option == nullptr) continue;
    set_checked(*option, *view.config, flag_name(option->name), value);
    any = true;
  }
  if (any) return;
  std::string stages;
  for (const ConfigView& view : views) stages += concat(stages.empty() ? "" : ", ", view.name);
  throw CLI::ValidationError(flag_name(name),
                             concat("no stage of the recipe (", stages, ") has this option"));
}

/// NAME=FIELD:VALUE,FIELD:VALUE, in every stage that has one of the fields: what they do not say is
/// as in the global configuration.
void set_local(std::span<ConfigView> views, const std::string& text) {
  const std::string flag = "--set-local";
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw CLI::ValidationError(flag, concat("'", text, "' must be NAME=FIELD:VALUE,..."));
  }
  std::vector<ConfigBase*> local(views.size(), nullptr);
  const std::string list = text.substr(equals + 1);
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string part = list.substr(start, end - start);
    start = end + 1;
    const size_t colon = part.find(':');
    std::string name = part.substr(0, colon);
    std::ranges::replace(name, '-', '_');
    bool any = false;
    for (size_t i = 0; i < views.size(); ++i) {
      const OptionDef* option = find_option(views[i].fields, name);
      if (option == nullptr || colon == std::string::npos) continue;
      if (!option->in_local) {
        throw CLI::ValidationError(flag, concat("'", name, "' holds for the whole model"));
      }
      if (local[i] == nullptr) local[i] = &views[i].add_local(text.substr(0, equals));
      set_checked(*option, *local[i], flag, part.substr(colon + 1));
      any = true;
    }
    if (!any) {
      throw CLI::ValidationError(flag, concat("'", part, "' must be FIELD:VALUE",
                                              did_you_mean(name, option_names(views))));
    }
  }
}

Result<Recipe> start_recipe(const Options& options) {
  Recipe recipe;
  if (!options.config_file.empty()) return read_config<Recipe>(options.config_file);
  if (options.stages.empty()) {
    // A type alone asks for mixed precision: of everything, or of what integers leave.
    if (!options.fields.contains("dtype")) return recipe;
    if (options.data.path.empty()) return Recipe(MixedPrecisionConfig());
    recipe.stages.emplace_back(MixedPrecisionConfig());
    return recipe;
  }
  recipe.stages.clear();
  std::vector<std::string> names;
  const std::vector<QuantConfig> all = all_configs();
  for (const QuantConfig& config : all) names.emplace_back(stage_name(config));
  for (const std::string& name : options.stages) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
      throw CLI::ValidationError(
          "--stages", concat("no stage is called '", name, "'", did_you_mean(name, names)));
    }
    recipe.stages.push_back(all[static_cast<size_t>(found - names.begin())]);
  }
  return recipe;
}

Result<Recipe> make_recipe(const Options& options) {
  OCTAVO_ASSIGN(Recipe recipe, start_recipe(options));
  std::vector<ConfigView> views;
  for (QuantConfig& stage : recipe.stages) views.push_back(config_view(stage));
  for (const auto& [name, value] : options.fields) set_global(views, name, value);
  for (const std::string& local : options.local) set_local(views, local);
  if (const Status valid = recipe.validate(); !valid) {
    throw CLI::ValidationError("quantization", valid.error().message);
  }
  return recipe;
}

/// What the result is compared with the float model on.
DataOptions check_options(const Options& options) {
  DataOptions check = options.data;
  if (options.eval_data.empty()) {
    check.limit = check.limit > 0 ? std::min(check.limit, kCheckSamples) : kCheckSamples;
  } else {
    check.path = options.eval_data;
    check.labels = options.eval_labels;
    check.limit = options.eval_limit;
  }
  return check;
}

Result<SideBySide> check_result(const Options& options, const Model& before, const Model& after,
                                Dataset& data) {
  OCTAVO_ASSIGN(const SessionOptions session, make_session_options(options.run));
  OCTAVO_ASSIGN(Session reference, before.create_session(session));
  OCTAVO_ASSIGN(Session quantized, after.create_session(session));
  Progress progress("check");
  return run_side_by_side(reference, quantized, data, progress.fn());
}

struct Outcome {
  int64_t file_bytes[2] = {0, 0};
  QuantizeReport report;
  std::optional<SideBySide> check;
  double seconds = 0;
};

Json to_json(const Options& options, const Recipe& recipe, const Outcome& outcome) {
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
               {"config", Json::parse(recipe.to_json(), nullptr, false)},
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

/// How a quantized operator computes: the rule of its row.
const char* quantized_why(const NodeReport& node) {
  if (node.activations == "bf16" || node.activations == "fp16") {
    return "values in half precision, sums in float32";
  }
  const OpDef* row = find_op("", node.op);
  switch (row == nullptr ? QuantPolicy::kFloatOnly : row->quant.policy) {
    case QuantPolicy::kCompute: return "integer arithmetic on integer weights";
    case QuantPolicy::kRequantize: return "integer arithmetic with its own output scale";
    case QuantPolicy::kSameScale: return "integers pass through with their scale";
    default: return "a table over the integers, or a fixed output scale";
  }
}

void print_explanation(const QuantizeReport& report) {
  Table table({"node", "op", "weights", "activations", "why"});
  for (const NodeReport& node : report.nodes) {
    const std::string why = !node.reason.empty() ? node.reason
                            : node.quantized     ? quantized_why(node)
                                                 : "";
    table.add({node.name, node.op, node.weights, node.quantized ? node.activations : "float", why});
  }
  table.print();
  std::printf("\n");
}

void print_report(const Options& options, const Outcome& outcome) {
  const QuantizeReport& report = outcome.report;
  if (options.explain) print_explanation(report);
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
  std::printf("\n%s written in %s s", options.output.c_str(),
              format_number(outcome.seconds, 1).c_str());
  if (report.samples > 0) {
    std::printf("; calibrated on %lld samples", static_cast<long long>(report.samples));
  }
  if (outcome.check) {
    std::printf("; %s on %lld samples of '%s'", outcome.check->has_labels ? "accuracy" : "compared",
                static_cast<long long>(outcome.check->samples),
                (options.eval_data.empty() ? options.data.path : options.eval_data).c_str());
  }
  std::printf("\n");
}

Result<int> quantize(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  OCTAVO_TRY(check_output("--output", options.output, kModelEndings,
                          {options.model, options.data.path, options.config_file}));
  OCTAVO_ASSIGN(const Recipe recipe, make_recipe(options));
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  std::unique_ptr<Dataset> data, check_data;
  if (!options.data.path.empty()) {
    OCTAVO_ASSIGN(data, open_data(options.data, loaded.model.graph()));
  } else {
    OCTAVO_ASSIGN(const Quantizer quantizer, Quantizer::create(loaded.model, recipe));
    if (quantizer.wants_data()) {
      throw CLI::ValidationError("--data", no_calibration_data().error().message);
    }
  }
  const DataOptions check = check_options(options);
  if (options.check && !check.path.empty()) {
    OCTAVO_ASSIGN(check_data, open_data(check, loaded.model.graph()));
  }
  QuantizedModel quantized;
  {
    Progress progress("quantize");
    OCTAVO_ASSIGN(QuantizeOptions quantize_options, make_quantize_options(options.run));
    quantize_options.progress = progress.fn();
    quantize_options.deterministic = options.deterministic;
    if (!options.calibration.cache.empty()) {
      OCTAVO_ASSIGN(quantize_options.calib_store,
                    open_calibration_folder(options.calibration.cache));
    }
    // As many as there are, so that progress knows how many.
    const int64_t iterations =
        std::min(options.calibration.iteration, data == nullptr ? 1 : data->feeds());
    OCTAVO_ASSIGN(quantized, quantize_model(loaded.model, recipe, data.get(), iterations, {},
                                            quantize_options));
  }
  Outcome outcome{.report = std::move(quantized.report)};
  outcome.file_bytes[0] = loaded.file_bytes;
  OCTAVO_ASSIGN(outcome.file_bytes[1], save_model(quantized.model, options.output, options.onnx));
  if (auto warning = emulation_warning(quantized.model.graph(), options.run.backend);
      !warning.empty()) {
    outcome.report.warnings.push_back(std::move(warning));
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (check_data != nullptr) {
    // The file is written: a comparison that cannot be made is no failure.
    auto compared = check_result(options, loaded.model, quantized.model, *check_data);
    if (compared) {
      outcome.check = *compared;
    } else {
      outcome.report.warnings.push_back(
          concat("not compared with the float model: ", compared.error().to_string()));
    }
  }
  if (options.json) {
    print_json(to_json(options, recipe, outcome));
  } else {
    print_report(options, outcome);
  }
  return 0;
}

/// A flag for every option that some config has.
void add_config_flags(CLI::App& verb, const std::shared_ptr<Options>& options) {
  struct Flag {
    const OptionDef* option = nullptr;
    std::string value;                 // the first config's default
    std::vector<std::string> choices;  // of all configs
    std::string stages;
  };
  std::vector<Flag> flags;
  for (QuantConfig& stage : all_configs()) {
    const ConfigView view = config_view(stage);
    for (const OptionDef& option : view.fields) {
      auto flag = std::ranges::find_if(
          flags, [&](const Flag& f) { return std::string_view(f.option->name) == option.name; });
      if (flag == flags.end()) {
        flags.push_back({&option, option_text(option, *view.config)});
        flag = flags.end() - 1;
      }
      for (const char* choice : option.choices) {
        if (!std::ranges::contains(flag->choices, choice)) flag->choices.emplace_back(choice);
      }
      flag->stages += concat(flag->stages.empty() ? "" : ", ", view.name);
    }
  }
  for (const Flag& flag : flags) {
    CLI::Option* option = verb.add_option_function<std::string>(
                                  flag_name(flag.option->name),
                                  [options, name = flag.option->name](const std::string& text) {
                                    options->fields[name] = text;
                                  },
                                  concat(flag.option->help, " (", flag.stages, ")"))
                              ->default_str(flag.value)
                              ->group("Quantization");
    if (!flag.choices.empty()) option->check(CLI::IsMember(flag.choices));
  }
}

}  // namespace

Verb add_quantize(CLI::App& app) {
  CLI::App* verb =
      app.add_subcommand("quantize", "Quantize a float model, or convert it to half precision");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Float model (.onnx or .octavo)")->required();
  verb->add_option("-o,--output", options->output, "Quantized model: .onnx (QDQ) or .octavo")
      ->required();
  add_data_options(*verb, options->data, /*with_labels=*/true, /*required=*/false);
  add_calibration_options(*verb, options->calibration);
  CLI::Option* config =
      verb->add_option("--config", options->config_file, "JSON file; the flags below override it");
  std::string names;
  for (const QuantConfig& stage : all_configs()) {
    names += concat(names.empty() ? "" : ", ", stage_name(stage));
  }
  verb->add_option("--stages", options->stages, concat("The recipe's stages in order: ", names))
      ->delimiter(',')
      ->default_str(StaticQuantConfig::kName)
      ->excludes(config);
  verb->add_option(
          "--set-local", options->local,
          "NAME=FIELD:VALUE,... for the nodes of that name, glob or operator type; repeatable")
      ->take_all();
  verb->add_option(
      "--eval-data", options->eval_data,
      "Labelled data for the comparison with the float model; else the first calibration samples");
  verb->add_option("--eval-labels", options->eval_labels, "Labels of --eval-data");
  verb->add_flag("--keep-names", options->onnx.keep_names,
                 "Keep long names of inner tensors and nodes in a small .onnx file");
  verb->add_option("--eval-limit", options->eval_limit,
                   "Use only the first samples of --eval-data; 0: all")
      ->check(at_least(0));
  verb->add_flag(
      "--deterministic", options->deterministic,
      "The file is the same bytes on every machine: calibration sums floats in one order");
  verb->add_flag("--check,!--no-check", options->check,
                 "Compare the result with the float model (default)");
  verb->add_flag("--explain", options->explain,
                 "List every node: quantized or not, its scheme, and why");
  add_run_options(*verb, options->run, {"backend", "device"});
  add_json_flag(*verb, options->json);

  add_config_flags(*verb, options);
  return {verb, [options] { return quantize(*options); }};
}

}  // namespace octavo::cli
