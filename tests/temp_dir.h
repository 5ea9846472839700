// A folder for the files of one test, removed at its end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <span>
#include <string>

#include "native/files.h"

namespace octavo {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "octavo-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string path(const std::string& name = "") const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::span<const uint8_t> bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    (void)write_file(path(name), bytes);
    return path(name);
  }
  std::string write(const std::string& name, std::string_view text) const {
    return write(name, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

 private:
  std::filesystem::path path_;
};

}  // namespace octavo
