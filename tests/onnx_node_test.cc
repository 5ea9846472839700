// ONNX's backend node tests (Debian package libonnx-testdata). tests/onnx_node_cases.txt lists
// those that pass; the list only grows. To add new passes to it:
//
//   UPDATE_GOLDEN=1 build/native/tests/octavo_tests --gtest_filter='OnnxNodeCases.*'
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "native/onnx_test.h"
#include "native/run_config.h"
#include "tests/kernel_check.h"
#include "tests/paths.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "/usr/share/libonnx-testdata/data";
std::string list_path() { return source_path("tests/onnx_node_cases.txt"); }

std::set<std::string> read_list() {
  std::set<std::string> names;
  std::ifstream file(list_path());
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) names.insert(line);
  }
  return names;
}

/// Runs a group's cases; those outside "node" go by "group/case".
void add_group(const std::string& group, const SessionOptions& options, OnnxTestResult& result) {
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(fs::path(kFolder) / group)) {
    folders.push_back(entry.path().string());
  }
  std::ranges::sort(folders);
  const std::string prefix = group == "node" ? "" : group + "/";
  const OnnxTestResult made = run_onnx_tests(folders, {}, options);
  for (const std::string& name : made.passed) result.passed.push_back(prefix + name);
  for (const auto& [name, why] : made.failed) result.failed.push_back({prefix + name, why});
  for (const auto& [name, why] : made.unsupported)
    result.unsupported.push_back({prefix + name, why});
}

constexpr const char* kGroups[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};

OnnxTestResult run_all(const SessionOptions& options = {}) {
  OnnxTestResult result;
  for (const char* group : kGroups) add_group(group, options, result);
  return result;
}

void expect_listed_pass(const OnnxTestResult& result) {
  const std::set<std::string> listed = read_list();
  for (const auto* cases : {&result.failed, &result.unsupported}) {
    for (const auto& [name, why] : *cases) {
      EXPECT_FALSE(listed.contains(name)) << name << ": " << why;
    }
  }
  EXPECT_GE(result.passed.size(), listed.size());
}

class OnnxNodeCases : public testing::OnEveryTarget {
 protected:
  void SetUp() override {
    if (!fs::exists(kFolder)) {
      GTEST_SKIP() << "needs " << kFolder << " (apt-get install libonnx-testdata)";
    }
  }
};

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

TEST_F(OnnxNodeCases, ThoseListedPassOnEveryBackend) {
  for (const char* backend : {"default", "itex"}) {
    SCOPED_TRACE(backend);
    const auto options = make_session_options({.backend = backend});
    ASSERT_TRUE(options) << options.error().to_string();
    expect_listed_pass(run_all(*options));
  }
}

}  // namespace
}  // namespace octavo
