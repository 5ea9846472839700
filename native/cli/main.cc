// octavo: the command line. Exit codes: 0 done, 1 failed, 2 wrong usage.
#include <algorithm>
#include <cstdio>
#include <span>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/thread_pool.h"

namespace octavo::cli {
namespace {

/// One line on stderr; with --json also the object on stdout.
int report_error(const Error& error, bool json, int exit_code) {
  std::string line = error.to_string();
  std::ranges::replace(line, '\n', ' ');
  std::fprintf(stderr, "octavo: %s %s\n", colored("error:", Color::kRed, stderr).c_str(),
               line.c_str());
  if (json) {
    print_json({{"error",
                 {{"code", error_code_name(error.code)},
                  {"message", error.message},
                  {"node", error.node},
                  {"tensor", error.tensor}}}});
  }
  return exit_code;
}

/// Says which verb was meant; the parser only says that there is none.
void check_verb(const CLI::App& app, std::span<char*> arguments) {
  if (arguments.size() < 2 || arguments[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  if (std::ranges::contains(names, std::string_view(arguments[1]))) return;
  throw CLI::ValidationError(
      concat("there is no verb '", arguments[1], "'", did_you_mean(arguments[1], names)),
      CLI::ExitCodes::ExtrasError);
}

int run(int argc, char** argv) {
  CLI::App app("Makes neural networks smaller, and runs them.", "octavo");
  app.require_subcommand(1);
  app.set_version_flag("--version", OCTAVO_VERSION);
  const Verb verbs[] = {add_quantize(app), add_autotune(app), add_eval(app),   add_compare(app),
                        add_report(app),   add_bench(app),    add_run(app),    add_schema(app),
                        add_test(app),     add_inspect(app),  add_verify(app), add_backends(app)};
  // Parsing itself may fail, and then too one object is due.
  const std::span<char*> arguments(argv, static_cast<size_t>(argc));
  const bool json = std::ranges::contains(arguments, std::string_view("--json"));
  try {
    check_verb(app, arguments);
    app.parse(argc, argv);
    for (const Verb& verb : verbs) {
      if (!verb.app->parsed()) continue;
      const Result<int> exit_code = verb.run();
      return exit_code ? *exit_code : report_error(exit_code.error(), json, 1);
    }
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::string verb;
    for (const CLI::App* chosen : app.get_subcommands()) verb = chosen->get_name() + " ";
    return report_error(
        {ErrorCode::kInvalidArgument, concat(error.what(), " (see octavo ", verb, "--help)")}, json,
        2);
  } catch (const std::bad_alloc&) {
    return report_error({ErrorCode::kOutOfMemory, "out of memory"}, json, 1);
  }
  return 2;
}

}  // namespace
}  // namespace octavo::cli

int main(int argc, char** argv) {
  octavo::spin_less(argv);
  return octavo::cli::run(argc, argv);
}
