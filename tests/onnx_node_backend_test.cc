// ONNX's backend node tests with the native library's backends.
#include "native/run_config.h"
#include "tests/onnx_node_cases.h"

namespace octavo::testing {
namespace {

class OnnxNodeCasesOnBackends : public OnnxNodeCases {};

TEST_F(OnnxNodeCasesOnBackends, ThoseListedPass) {
  for (const char* backend : {"default", "itex"}) {
    SCOPED_TRACE(backend);
    const auto options = make_session_options({.backend = backend});
    ASSERT_TRUE(options) << options.error().to_string();
    expect_listed_pass(run_all(*options));
  }
}

}  // namespace
}  // namespace octavo::testing
