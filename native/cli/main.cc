#include "native/cli/test.h"
#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app("Makes neural networks smaller, and runs them.");
  app.require_subcommand(1);
  CLI::App* test = app.add_subcommand("test", "Run ONNX backend-test folders");
  std::vector<std::string> folders;
  bool json = false;
  test->add_option("folders", folders, "Folders with model.onnx and test_data_set_*")->required();
  test->add_flag("--json", json, "Print one JSON object");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return octavo::test_verb(folders, json);
}
