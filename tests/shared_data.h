// Real models and data that are not part of the project: OCTAVO_SHARED, or shared/ beside it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/paths.h"

namespace octavo {

inline std::string shared_path(const std::string& name) {
  const char* folder = std::getenv("OCTAVO_SHARED");
  return (folder != nullptr ? std::string(folder) : source_path("../shared")) + "/" + name;
}

}  // namespace octavo

/// In a test: the path of a shared file or folder, or skips the test saying what is missing.
#define OCTAVO_SHARED_PATH(variable, name)                  \
  const std::string variable = ::octavo::shared_path(name); \
  if (!std::filesystem::exists(variable))                   \
  GTEST_SKIP() << "needs " << variable                      \
               << " (set OCTAVO_SHARED to the folder of shared models and data)"
