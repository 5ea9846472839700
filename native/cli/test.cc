// octavo test: ONNX's backend tests.
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/onnx_test.h"

namespace octavo::cli {
namespace {

struct Options {
  std::vector<std::string> folders;
  RunConfig run;
  bool json = false;
};

Json to_json(const std::vector<OnnxTestResult::Case>& cases) {
  Json list = Json::array();
  for (const auto& [name, why] : cases) list.push_back({{"name", name}, {"why", why}});
  return list;
}

Result<int> test(const Options& options) {
  OCTAVO_ASSIGN(const SessionOptions session_options, make_session_options(options.run));
  OnnxTestResult result;
  {
    Progress progress("test");
    result = run_onnx_tests(
        options.folders,
        [&](size_t done, size_t total) {
          progress.update(static_cast<int64_t>(done), static_cast<int64_t>(total));
        },
        session_options);
  }
  if (options.json) {
    print_json({{"passed", result.passed.size()},
                {"failed", to_json(result.failed)},
                {"unsupported", to_json(result.unsupported)}});
  } else {
    Table table({"result", "case", "why"});
    for (const auto& [name, why] : result.failed) table.add({"failed", name, why});
    for (const auto& [name, why] : result.unsupported) table.add({"unsupported", name, why});
    if (!table.empty()) table.print();
    std::printf("%zu passed, %zu failed, %zu unsupported\n", result.passed.size(),
                result.failed.size(), result.unsupported.size());
  }
  return result.failed.empty() ? 0 : 1;
}

}  // namespace

Verb add_test(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("test", "Run ONNX backend-test folders");
  const auto options = std::make_shared<Options>();
  verb->add_option("folders", options->folders, "Folders with model.onnx and test_data_set_*")
      ->required();
  add_run_options(*verb, options->run, {"backend", "device"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return test(*options); }};
}

}  // namespace octavo::cli
