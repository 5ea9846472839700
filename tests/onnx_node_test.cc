// ONNX's backend node tests. To add new passes to the list:
//
//   UPDATE_GOLDEN=1 build/native/tests/octavo_tests --gtest_filter='OnnxNodeCases.*'
#include <cstdlib>

#include "tests/onnx_node_cases.h"

namespace octavo::testing {
namespace {

TEST_F(OnnxNodeCases, ThoseListedPass) {
  const OnnxTestResult result = run_all();
  expect_listed_pass(result);
  std::set<std::string> listed = read_list();
  const std::set<std::string> passed(result.passed.begin(), result.passed.end());
  std::vector<std::string> news;
  std::ranges::set_difference(passed, listed, std::back_inserter(news));
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {
    listed.insert(news.begin(), news.end());
    std::ofstream file(list_path());
    for (const std::string& name : listed) file << name << '\n';
  } else if (!news.empty()) {
    std::printf("%zu cases pass that are not in %s (%s ...); see the top of this test's file\n",
                news.size(), list_path().c_str(), news[0].c_str());
  }
}

TEST_F(OnnxNodeCases, ThoseListedPassOnEverySimdTarget) {
  for_each_target([] { expect_listed_pass(run_all()); });
}

}  // namespace
}  // namespace octavo::testing
