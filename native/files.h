// Files: whole reads, memory maps, and writes that never leave half a file behind.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
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

/// One open file, read at any position: memory does not grow with the file.
class InputFile {
 public:
  static Result<InputFile> open(const std::string& path);
  InputFile(InputFile&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  /// Fills `out` with the bytes from `offset` on; an error if the file ends before.
  Status read(int64_t offset, std::span<uint8_t> out) const;

 private:
  InputFile() = default;
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

/// Whether both paths name the same existing file (links followed).
bool is_same_file(const std::string& a, const std::string& b);

/// With the folders above it; no error if it is there.
Status make_folder(const std::string& path);

/// Whether write_file(path) has a folder that may be written to: to be asked before long work.
Status check_writable(const std::string& path);

/// Writes to a temporary name in the same folder, then renames.
Status write_file(const std::string& path, std::span<const uint8_t> bytes);
/// The same, of bytes that lie in several places.
Status write_file(const std::string& path, std::span<const std::span<const uint8_t>> parts);

}  // namespace octavo
