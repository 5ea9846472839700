// octavo eval: accuracy on labelled data.
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string model, metric = "top1";
  DataOptions data;
  RunOptions run;
  bool json = false;
};

Result<int> eval(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(const auto data, open_data(options.data, loaded.model.graph()));
  OCTAVO_ASSIGN(Session session, loaded.model.create_session(session_options(options.run)));
  Evaluation evaluation;
  {
    Progress progress("eval");
    OCTAVO_ASSIGN(evaluation,
                  evaluate(session, *data, options.metric == "top5" ? 5 : 1, progress.fn()));
  }
  const TopK& accuracy = evaluation.accuracy;
  if (options.json) {
    print_json({{"model", options.model},
                {"data", options.data.path},
                {"metric", options.metric},
                {"value", accuracy.share()},
                {"samples", accuracy.samples},
                {"correct", accuracy.correct},
                {"median_ms", evaluation.median_ms}});
    return 0;
  }
  Table table({"model", "size", options.metric, "right", "samples", "median"});
  table.add({options.model, format_bytes(loaded.file_bytes), format_percent(accuracy.share()),
             std::to_string(accuracy.correct), std::to_string(accuracy.samples),
             format_ms(evaluation.median_ms)});
  table.print();
  return 0;
}

}  // namespace

Verb add_eval(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("eval", "Measure a model's accuracy on labelled data");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Model (.onnx or .octavo)")->required();
  add_data_options(*verb, options->data, /*with_labels=*/true);
  verb->add_option("--metric", options->metric,
                   "Share of samples whose label scores best, or among the best 5")
      ->check(CLI::IsMember({"top1", "top5"}))
      ->capture_default_str();
  add_run_options(*verb, options->run);
  add_json_flag(*verb, options->json);
  return {verb, [options] { return eval(*options); }};
}

}  // namespace octavo::cli
