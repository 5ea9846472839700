// Files: whole reads, memory maps, and writes that never leave half a file behind.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace octavo {

/// The file's bytes. Errors (kNotFound, kIo) name the file.
Result<std::vector<uint8_t>> read_file(const std::string& path);

/// A file mapped read-only; `owner` keeps it mapped.
struct MappedFile {
  std::span<const uint8_t> bytes;
  std::shared_ptr<const void> owner;
};
Result<MappedFile> map_file(const std::string& path);

/// Writes to a temporary name in the same folder, then renames.
Status write_file(const std::string& path, std::span<const uint8_t> bytes);

}  // namespace octavo
