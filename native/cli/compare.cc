// octavo compare: how far the tensors of two models are apart.
#include <algorithm>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string a, b;
  DataOptions data;
  RunConfig run;
  bool json = false;
  size_t top = 0;
};

Json to_json(const std::vector<TensorComparison>& comparisons) {
  Json list = Json::array();
  for (const TensorComparison& c : comparisons) {
    list.push_back({{"tensor", c.tensor},
                    {"op", c.node_op},
                    {"sqnr_db", c.sqnr_db},
                    {"cosine", c.cosine},
                    {"mse", c.mse},
                    {"kl", c.kl},
                    {"max_abs_error", c.max_abs_error}});
  }
  return list;
}

void print_table(const std::vector<TensorComparison>& comparisons, const char* title) {
  Table table({title, "op", "SQNR dB", "cosine", "KL", "max error"});
  for (const TensorComparison& c : comparisons) {
    char error[32];
    std::snprintf(error, sizeof error, "%.3g", c.max_abs_error);
    table.add({c.tensor, c.node_op, format_number(c.sqnr_db, 1), format_number(c.cosine, 5),
               format_number(c.kl, 5), error});
  }
  table.print();
}

Result<int> compare_verb(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel a, load_model(options.a));
  OCTAVO_ASSIGN(const LoadedModel b, load_model(options.b));
  OCTAVO_ASSIGN(const auto data, open_data(options.data, a.model.graph()));
  Comparison comparison;
  {
    Progress progress("compare");
    OCTAVO_ASSIGN(QuantizeOptions run, make_quantize_options(options.run));
    // The data loader does not tell its size, but we know it.
    run.progress = [&](int64_t done, int64_t total) {
      progress.update(done, total > 0 ? total : data->feeds());
      return true;
    };
    OCTAVO_ASSIGN(comparison, compare(a.model, b.model, *data, run));
  }
  std::vector<TensorComparison>& tensors = comparison.tensors;
  if (options.top > 0 && options.top < tensors.size()) {
    std::ranges::stable_sort(tensors, {}, &TensorComparison::sqnr_db);
    tensors.resize(options.top);
  }
  if (options.json) {
    print_json({{"a", options.a},
                {"b", options.b},
                {"samples", comparison.samples},
                {"agreement", comparison.agreement},
                {"outputs", to_json(comparison.outputs)},
                {"tensors", to_json(tensors)}});
    return 0;
  }
  if (!tensors.empty()) {
    print_table(tensors, "tensor");
    std::printf("\n");
  }
  print_table(comparison.outputs, "output");
  std::printf("\nsame highest score: %s of %lld samples\n",
              format_percent(comparison.agreement).c_str(),
              static_cast<long long>(comparison.samples));
  return 0;
}

}  // namespace

Verb add_compare(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("compare", "Compare two models tensor by tensor on data");
  const auto options = std::make_shared<Options>();
  verb->add_option("a", options->a, "Reference model")->required();
  verb->add_option("b", options->b, "Model to compare with it")->required();
  add_data_options(*verb, options->data, /*with_labels=*/false);
  verb->add_option("--top", options->top,
                   "Only the tensors that differ most; 0: all, in graph order");
  add_run_options(*verb, options->run, {"backend", "device"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return compare_verb(*options); }};
}

}  // namespace octavo::cli
