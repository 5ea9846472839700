// octavo schema: the JSON schema of recipes, for editors and validators.
#include "native/cli/verbs.h"

namespace octavo::cli {

Verb add_schema(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("schema", "Print the JSON schema of recipes");
  return {verb, []() -> Result<int> {
            std::printf("%s\n", recipe_schema().c_str());
            return 0;
          }};
}

}  // namespace octavo::cli
