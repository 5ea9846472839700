// octavo report: where a quantized model loses accuracy, as a page or as JSON.
#include "core/report/report.h"

#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/files.h"
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
  QuantizeOptions run;
  OCTAVO_ASSIGN(const SessionOptions session, make_session_options(options.run));
  run.pool = session.pool;
  {
    Progress progress("report");
    run.progress = [&](int64_t done, int64_t) {
      progress.update(done, (data->size() + data->batch() - 1) / data->batch());
      return true;
    };
    OCTAVO_ASSIGN(report.diagnosis, diagnose(reference.model, quantized.model, *data, run));
  }
  run.progress = {};
  DataOptions few = options.data;
  few.limit = few.limit > 0 ? std::min(few.limit, kSourceSamples) : kSourceSamples;
  OCTAVO_ASSIGN(const auto some, open_data(few, reference.model.graph()));
  OCTAVO_ASSIGN(report.sources, error_sources(reference.model, quantized.model, *some, run));
  return report;
}

Result<int> report_verb(const Options& options) {
  const bool as_json = options.output.ends_with(".json");
  if (!options.output.empty() && !as_json && !options.output.ends_with(".html")) {
    throw CLI::ValidationError("--output",
                               concat("'", options.output, "' must end in .html or .json"));
  }
  OCTAVO_ASSIGN(const Report report, make_report(options));
  if (!options.output.empty()) {
    const std::string text = as_json ? report_json(report) : report_html(report);
    OCTAVO_TRY(
        write_file(options.output, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  }
  if (options.json) {
    print_json(Json::parse(report_json(report), nullptr, false));
    return 0;
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
  std::printf("output SQNR: weights only %.1f dB, activations only %.1f dB, both %.1f dB\n",
              report.sources->weights_sqnr_db, report.sources->activations_sqnr_db,
              report.sources->both_sqnr_db);
  if (!options.output.empty()) std::printf("written to %s\n", options.output.c_str());
  return 0;
}

}  // namespace

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
