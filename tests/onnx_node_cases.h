// ONNX's backend node tests (Debian package libonnx-testdata). tests/onnx_node_cases.txt lists
// those that pass; the list only grows.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "native/onnx_test.h"
#include "tests/kernel_check.h"
#include "tests/paths.h"

namespace octavo::testing {

inline constexpr const char* kFolder = "/usr/share/libonnx-testdata/data";
inline std::string list_path() { return source_path("tests/onnx_node_cases.txt"); }

inline std::set<std::string> read_list() {
  std::set<std::string> names;
  std::ifstream file(list_path());
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) names.insert(line);
  }
  return names;
}

/// Runs a group's cases; those outside "node" go by "group/case".
inline void add_group(const std::string& group, const SessionOptions& options,
                      OnnxTestResult& result) {
  std::vector<std::string> folders;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(kFolder) / group)) {
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

inline constexpr const char* kGroups[] = {"node", "pytorch-converted", "pytorch-operator",
                                          "simple"};

inline OnnxTestResult run_all(const SessionOptions& options = {}) {
  OnnxTestResult result;
  for (const char* group : kGroups) add_group(group, options, result);
  return result;
}

inline void expect_listed_pass(const OnnxTestResult& result) {
  const std::set<std::string> listed = read_list();
  for (const auto* cases : {&result.failed, &result.unsupported}) {
    for (const auto& [name, why] : *cases) {
      EXPECT_FALSE(listed.contains(name)) << name << ": " << why;
    }
  }
  EXPECT_GE(result.passed.size(), listed.size());
}

class OnnxNodeCases : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kFolder)) {
      GTEST_SKIP() << "needs " << kFolder << " (apt-get install libonnx-testdata)";
    }
  }
};

}  // namespace octavo::testing
