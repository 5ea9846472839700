// Export, and import -> export -> import over every model at hand.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/onnx/onnx.h"
#include "native/files.h"
#include "tests/shared_data.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> models_at_hand() {
  std::vector<fs::path> paths;
  const fs::path cases = "/usr/share/libonnx-testdata/data/node";
  if (fs::exists(cases)) {
    for (const auto& entry : fs::directory_iterator(cases)) {
      paths.push_back(entry.path() / "model.onnx");
    }
  }
  const fs::path shared = shared_path("models");
  if (fs::exists(shared)) {
    for (const auto& entry : fs::directory_iterator(shared)) {
      if (entry.path().extension() == ".onnx") paths.push_back(entry.path());
    }
  }
  std::ranges::sort(paths);
  return paths;
}

TEST(OnnxExport, ImportOfAnExportGivesTheSameGraph) {
  int compared = 0;
  for (const fs::path& path : models_at_hand()) {
    const auto bytes = read_file(path.string());
    ASSERT_TRUE(bytes);
    const auto graph = import_onnx(*bytes, {});
    if (!graph) continue;  // unsupported; tests/onnx_node_test.cc watches which
    const auto exported = export_onnx(*graph);
    ASSERT_TRUE(exported) << path << ": " << exported.error().to_string();
    const auto again = import_onnx(*exported, {});
    ASSERT_TRUE(again) << path << ": " << again.error().to_string();
    EXPECT_EQ(dump(*graph), dump(*again)) << path;
    ++compared;
  }
  if (compared == 0) GTEST_SKIP() << "neither libonnx-testdata nor OCTAVO_SHARED is here";
}

}  // namespace
}  // namespace octavo
