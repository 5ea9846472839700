// Every model at hand, written and read again: as ONNX and as compact file.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/onnx/onnx.h"
#include "native/files.h"
#include "runtime/compact.h"
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

/// `write_and_read` gives an equal graph for every model at hand.
template <class Fn>
void expect_same_graphs(const Fn& write_and_read) {
  int compared = 0;
  for (const fs::path& path : models_at_hand()) {
    const auto bytes = read_file(path.string());
    ASSERT_TRUE(bytes);
    const auto graph = import_onnx(*bytes, {});
    if (!graph) continue;  // unsupported; tests/onnx_node_test.cc watches which
    const Result<Graph> again = write_and_read(*graph);
    ASSERT_TRUE(again) << path << ": " << again.error().to_string();
    EXPECT_EQ(dump(*graph), dump(*again)) << path;
    ++compared;
  }
  if (compared == 0) GTEST_SKIP() << "neither libonnx-testdata nor OCTAVO_SHARED is here";
}

TEST(RoundTrip, Onnx) {
  expect_same_graphs([](const Graph& graph) -> Result<Graph> {
    OCTAVO_ASSIGN(const Bytes bytes, export_onnx(graph));
    return import_onnx(bytes, {});
  });
}

TEST(RoundTrip, Compact) {
  expect_same_graphs([](const Graph& graph) -> Result<Graph> {
    OCTAVO_ASSIGN(const Bytes bytes, write_compact(graph));
    return read_compact(bytes, nullptr);
  });
}

}  // namespace
}  // namespace octavo
