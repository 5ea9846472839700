// octavo schema: the JSON schemas of recipes and of autotune's configuration, for editors and
// validators.
#include <memory>

#include "core/tuning/tuning_config.h"
#include "native/cli/verbs.h"

namespace octavo::cli {

Verb add_schema(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("schema", "Print the JSON schema of recipes or of tuning");
  const auto what = std::make_shared<std::string>("recipe");
  verb->add_option("what", *what, "recipe (default) or tuning")
      ->check(CLI::IsMember({"recipe", "tuning"}));
  return {verb, [what]() -> Result<int> {
            std::printf("%s\n", (*what == "tuning" ? tuning_schema() : recipe_schema()).c_str());
            return 0;
          }};
}

}  // namespace octavo::cli
