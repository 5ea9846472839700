#include "native/cli/test.h"

#include <cstdio>

#include "native/onnx_test.h"
#include <nlohmann/json.hpp>

namespace octavo {

int test_verb(std::span<const std::string> folders, bool json) {
  const OnnxTestResult result = run_onnx_tests(folders);
  if (json) {
    const auto list = [](const std::vector<OnnxTestResult::Case>& cases) {
      nlohmann::json out = nlohmann::json::array();
      for (const auto& [name, why] : cases) out.push_back({{"name", name}, {"why", why}});
      return out;
    };
    const nlohmann::json report = {{"passed", result.passed.size()},
                                   {"failed", list(result.failed)},
                                   {"unsupported", list(result.unsupported)}};
    std::puts(report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    for (const auto& [name, why] : result.failed)
      std::printf("failed       %s: %s\n", name.c_str(), why.c_str());
    for (const auto& [name, why] : result.unsupported) {
      std::printf("unsupported  %s: %s\n", name.c_str(), why.c_str());
    }
    std::printf("%zu passed, %zu failed, %zu unsupported\n", result.passed.size(),
                result.failed.size(), result.unsupported.size());
  }
  return result.failed.empty() ? 0 : 1;
}

}  // namespace octavo
