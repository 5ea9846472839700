// octavo report: where a quantized model loses accuracy, as a page or as JSON.
#include "core/report/report.h"

#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string reference, quantized, output;
  DataOptions data;
  RunConfig run;
  bool json = false;
};

Result<Report> make_report(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel reference, load_model(options.reference));
  OCTAVO_ASSIGN(const LoadedModel quantized, load_model(options.quantized));
  OCTAVO_ASSIGN(const auto data, open_data(options.data, reference.model.graph()));
  Report report{.float_model = options.reference,
                .quantized_model = options.quantized,
                .data = options.data.path};
  OCTAVO_ASSIGN(const QuantizeOptions run, make_quantize_options(options.run));
  OCTAVO_TRY(fill_report(reference.model, quantized.model, *data, run, report));
  return report;
}

Result<int> report_verb(const Options& options) {
  if (!options.output.empty()) {
    OCTAVO_TRY(check_output("--output", options.output, kReportEndings, {options.data.path}));
  }
  OCTAVO_ASSIGN(const Report report, make_report(options));
  if (!options.output.empty()) {
    OCTAVO_TRY(write_report(report, options.output));
  }
  if (options.json) {
    print_json(Json::parse(report_json(report), nullptr, false));
    return 0;
  }
  Table ranking({"node", "op", "alone dB", "weights dB", "activations dB"});
  for (const OpSensitivity& op : report.sensitivity) {
    ranking.add({op.node, op.op, format_number(op.sqnr_db, 1), format_number(op.weights_sqnr_db, 1),
                 format_number(op.activations_sqnr_db, 1)});
  }
  if (!ranking.empty()) {
    std::printf("Output SQNR with one operator quantized, the most sensitive first\n");
    ranking.print();
    std::printf("\n");
  }
  Table table({"node", "op", "own dB", "run dB", "weights dB"});
  const auto db = [](const std::optional<double>& value) {
    return value ? format_number(*value, 1) : std::string("-");
  };
  for (const OpDiagnosis& op : report.diagnosis.ops) {
    if (!op.quantized) continue;
    table.add({op.node, op.op, db(op.own_sqnr_db), db(op.sqnr_db), db(op.weight_sqnr_db)});
  }
  if (!table.empty()) {
    table.print();
    std::printf("\n");
  }
  if (!report.hint.empty()) std::printf("%s\n\n", report.hint.c_str());
  std::printf(
      "output SQNR on %lld samples: weights only %.1f dB, activations only %.1f dB, both %.1f dB\n",
      static_cast<long long>(std::min(report.diagnosis.samples, kSourceSamples)),
      report.sources->weights_sqnr_db, report.sources->activations_sqnr_db,
      report.sources->both_sqnr_db);
  if (!options.output.empty()) std::printf("written to %s\n", options.output.c_str());
  return 0;
}

}  // namespace

Status fill_report(const Model& reference, const Model& quantized, Dataset& data,
                   const QuantizeOptions& run, Report& report) {
  OCTAVO_ASSIGN(Reporter reporter, Reporter::create(reference, quantized, run.pool));
  {
    Progress progress("report");
    const ProgressFn show = [&](int64_t done, int64_t) {
      progress.update(done, data.feeds());
      return true;
    };
    OCTAVO_TRY(for_each_sample(data, show,
                               [&](const NamedTensors& feeds) { return reporter.observe(feeds); }));
  }
  Progress progress("rank operators");
  return reporter.finish(report, progress.fn());
}

Status write_report(const Report& report, const std::string& path) {
  const std::string text = path.ends_with(".json") ? report_json(report) : report_html(report);
  return write_file(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

Verb add_report(CLI::App& app) {
  CLI::App* verb = app.add_subcommand(
      "report", "Show where a quantized model loses accuracy, as a page (.html) or as .json");
  const auto options = std::make_shared<Options>();
  verb->add_option("float", options->reference, "Float model")->required();
  verb->add_option("quantized", options->quantized, "Quantized model")->required();
  add_data_options(*verb, options->data, /*with_labels=*/false);
  verb->add_option("-o,--output", options->output, "report.html (opens offline) or report.json");
  add_run_options(*verb, options->run);
  add_json_flag(*verb, options->json);
  return {verb, [options] { return report_verb(*options); }};
}

}  // namespace octavo::cli
