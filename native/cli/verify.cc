// octavo verify: makes a quantized file again from what it says of itself, and compares the bytes.
#include <memory>

#include "core/provenance.h"
#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/model_file.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string file, model;
  DataOptions data;
  RunConfig run;
  bool json = false;
};

Result<int> verify_verb(const Options& options) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(options.file));
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  std::unique_ptr<Dataset> data;
  if (!options.data.path.empty()) {
    OCTAVO_ASSIGN(data, open_data(options.data, loaded.model.graph()));
  }
  OCTAVO_ASSIGN(QuantizeOptions run, make_quantize_options(options.run));
  Verification found;
  {
    Progress progress("quantize");
    run.progress = progress.fn();
    OCTAVO_ASSIGN(found, verify(file.bytes, loaded.model, data.get(), run));
  }
  const Provenance& source = found.provenance;
  if (options.json) {
    print_json({{"file", options.file},
                {"same", found.same()},
                {"difference", found.difference},
                {"version", source.version},
                {"recipe", Json::parse(source.recipe.to_json(), nullptr, false)},
                {"model", source.model},
                {"data", source.data},
                {"samples", source.samples},
                {"deterministic", source.deterministic}});
  } else {
    std::printf("%s: %s\n", options.file.c_str(),
                found.same() ? "made again, byte for byte" : found.difference.c_str());
    std::printf("version %s, float model %s", source.version.c_str(), source.model.c_str());
    if (!source.data.empty()) {
      std::printf(", data %s (%lld samples)", source.data.c_str(),
                  static_cast<long long>(source.samples));
    }
    std::printf("\n");
  }
  return found.same() ? 0 : 1;
}

}  // namespace

Verb add_verify(CLI::App& app) {
  CLI::App* verb = app.add_subcommand(
      "verify", "Make a quantized file again from the recipe that it holds, and compare the bytes");
  const auto options = std::make_shared<Options>();
  verb->add_option("file", options->file, "Quantized model")->required();
  verb->add_option("--model", options->model, "The float model it was made from")->required();
  add_data_options(*verb, options->data, /*with_labels=*/false, /*required=*/false);
  add_run_options(*verb, options->run);
  add_json_flag(*verb, options->json);
  return {verb, [options] { return verify_verb(*options); }};
}

}  // namespace octavo::cli
