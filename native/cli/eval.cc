// octavo eval: accuracy on labelled data.
#include <algorithm>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/files.h"
#include "native/model_file.h"
#include "native/npy.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string model, metric = "top1", save_inputs, save_outputs;
  DataOptions data;
  RunConfig run;
  bool json = false;
};

/// Batches joined along their first axis. The last one may be filled up with repeats of a sample.
Status save_batches(const std::string& path, std::span<const Tensor> batches, int64_t samples) {
  if (batches.empty() || batches[0].shape().rank() == 0) return {};
  Shape shape = batches[0].shape();
  shape[0] = samples;
  OCTAVO_ASSIGN(Tensor all, Tensor::create(batches[0].dtype(), shape));
  auto* to = static_cast<std::byte*>(all.raw());
  auto left = static_cast<size_t>(all.bytes());
  for (const Tensor& batch : batches) {
    const auto bytes = batch.raw_bytes().first(std::min<size_t>(batch.raw_bytes().size(), left));
    to = std::ranges::copy(bytes, to).out;
    left -= bytes.size();
  }
  return write_npy(path, all);
}

/// The samples as the model gets them, for comparisons with other runtimes: input0.npy, ... with
/// samples along their first axis, and labels.npy.
Status save_inputs(Dataset& data, const std::string& folder) {
  OCTAVO_TRY(make_folder(folder));
  std::vector<std::vector<Tensor>> feeds;  // by input
  while (true) {
    OCTAVO_ASSIGN(const auto feed, data.next());
    if (!feed) break;
    feeds.resize(feed->size());
    for (size_t i = 0; i < feed->size(); ++i) feeds[i].push_back((*feed)[i].second);
  }
  for (size_t i = 0; i < feeds.size(); ++i) {
    OCTAVO_TRY(save_batches(concat(folder, "/input", i, ".npy"), feeds[i], data.size()));
  }
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < data.size(); ++i) labels.push_back(data.label(i));
  OCTAVO_TRY(write_npy(folder + "/labels.npy", Tensor::vector_i64(labels)));
  return {};
}

/// What the model computes of them: output0.npy, ...
Status save_outputs(Session& session, Dataset& data, const std::string& folder) {
  OCTAVO_TRY(make_folder(folder));
  std::vector<std::vector<Tensor>> made;  // by output
  while (true) {
    OCTAVO_ASSIGN(const auto feed, data.next());
    if (!feed) break;
    OCTAVO_ASSIGN(NamedTensors outputs, session.run(*feed));
    made.resize(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) made[i].push_back(std::move(outputs[i].second));
  }
  for (size_t i = 0; i < made.size(); ++i) {
    OCTAVO_TRY(save_batches(concat(folder, "/output", i, ".npy"), made[i], data.size()));
  }
  return {};
}

Result<int> eval(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(const auto data, open_data(options.data, loaded.model.graph()));
  OCTAVO_ASSIGN(const SessionOptions session_options, make_session_options(options.run));
  OCTAVO_ASSIGN(Session session, loaded.model.create_session(session_options));
  Evaluation evaluation;
  {
    Progress progress("eval");
    OCTAVO_ASSIGN(evaluation,
                  evaluate(session, *data, options.metric == "top5" ? 5 : 1, progress.fn()));
  }
  if (!options.save_inputs.empty()) {
    OCTAVO_TRY(data->rewind());
    OCTAVO_TRY(save_inputs(*data, options.save_inputs));
  }
  if (!options.save_outputs.empty()) {
    OCTAVO_TRY(data->rewind());
    OCTAVO_TRY(save_outputs(session, *data, options.save_outputs));
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
  verb->add_option("--save-inputs", options->save_inputs,
                   "Folder for the preprocessed samples (input0.npy, ...) and labels.npy");
  verb->add_option("--save-outputs", options->save_outputs,
                   "Folder for the model's outputs (output0.npy, ...), samples first");
  add_run_options(*verb, options->run, {"backend", "device"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return eval(*options); }};
}

}  // namespace octavo::cli
