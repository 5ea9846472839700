// A project that has Octavo as a folder of its own.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/paths.h"
#include "tests/temp_dir.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

TEST(Embedding, WarningsAreOctavosOwn) {
  const TempDir dir;
  dir.write("CMakeLists.txt", concat(R"(cmake_minimum_required(VERSION 3.28)
project(app LANGUAGES CXX)
add_subdirectory()",
                                     source_path(""), R"( octavo)
add_executable(app main.cc)
target_link_libraries(app octavo_native)
)"));
  dir.write("main.cc", "int main() {}\n");
  const std::string command =
      concat("cmake -G Ninja -S ", dir.path(), " -B ", dir.path("build"),
             " -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >", dir.path("log"), " 2>&1");
  ASSERT_EQ(std::system(command.c_str()), 0) << std::ifstream(dir.path("log")).rdbuf();
  std::ifstream file(dir.path("build/compile_commands.json"));
  bool found_app = false;
  for (const auto& entry : nlohmann::json::parse(file)) {
    const bool is_app = entry["file"] == dir.path("main.cc");
    found_app |= is_app;
    const auto has = [&](const char* flag) {
      return entry["command"].get<std::string>().find(flag) != std::string::npos;
    };
    if (is_app) {
      EXPECT_TRUE(has("++23"));
      EXPECT_FALSE(has("-Wall") || has("-ffp-contract")) << entry["command"];
    } else if (entry["file"].get<std::string>().find("/runtime/kernels/") != std::string::npos) {
      EXPECT_TRUE(has("-Wall") && has("-ffp-contract=off")) << entry["command"];
    }
  }
  EXPECT_TRUE(found_app);
}

}  // namespace
}  // namespace octavo
