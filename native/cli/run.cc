// octavo run: tensors in, tensors out.
#include <cctype>
#include <filesystem>
#include <memory>
#include <set>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/files.h"
#include "native/model_file.h"
#include "native/npy.h"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model, output_dir;
  std::vector<std::string> inputs;
  RunConfig run;
  bool json = false;
};

/// A tensor's name as a file name: letters, digits, "._-", not hidden, not too long.
std::string safe_file_name(const std::string& name, std::set<std::string>& taken) {
  std::string safe = name.substr(0, 200);
  for (char& c : safe) {
    const bool is_safe =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    if (!is_safe) c = '_';
  }
  if (safe.empty()) safe = "output";
  if (safe.front() == '.') safe.front() = '_';
  std::string unique = safe;
  for (int i = 2; !taken.insert(unique).second; ++i) unique = concat(safe, "_", i);
  return unique;
}

Result<int> run(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(const NamedTensors feeds, read_inputs(loaded.model.graph(), options.inputs));
  OCTAVO_ASSIGN(const SessionOptions session_options, make_session_options(options.run));
  OCTAVO_ASSIGN(Session session, loaded.model.create_session(session_options));
  OCTAVO_ASSIGN(const NamedTensors outputs, session.run(feeds));
  print_problems(loaded.model.graph(), options.run, session_options);

  OCTAVO_TRY(make_folder(options.output_dir));
  std::set<std::string> taken;
  std::vector<std::string> files;
  std::vector<std::vector<uint8_t>> contents;
  for (const auto& [name, tensor] : outputs) {
    files.push_back(
        (fs::path(options.output_dir) / (safe_file_name(name, taken) + ".npy")).string());
    OCTAVO_ASSIGN(contents.emplace_back(), npy_bytes(tensor));
    for (const std::string& input : options.inputs) {
      OCTAVO_ASSIGN(const auto assignment,
                    split_assignment("--input", input, input_names(loaded.model.graph())));
      if (is_same_file(files.back(), assignment.second)) {
        throw CLI::ValidationError("--output-dir", concat("'", files.back(), "' is an input file"));
      }
    }
  }
  Json list = Json::array();
  Table table({"output", "dtype", "shape", "file"});
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& [name, tensor] = outputs[i];
    OCTAVO_TRY(write_file(files[i], contents[i]));
    table.add(
        {name, std::string(dtype_name(tensor.dtype())), tensor.shape().to_string(), files[i]});
    list.push_back({{"name", name},
                    {"dtype", dtype_name(tensor.dtype())},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"file", files[i]}});
  }
  if (options.json) {
    print_json({{"model", options.model}, {"outputs", list}});
  } else {
    table.print();
  }
  return 0;
}

}  // namespace

Verb add_run(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("run", "Run a model on .npy files");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Model (.onnx or .octavo)")->required();
  verb->add_option("--input", options->inputs,
                   "NAME=FILE.npy, for each input; FILE.npy if there is one");
  verb->add_option("--output-dir", options->output_dir, "Folder for one NAME.npy per output")
      ->required();
  add_run_options(*verb, options->run, {"backend", "device", "weight_cache"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return run(*options); }};
}

}  // namespace octavo::cli
