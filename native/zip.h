// Zip archives, as numpy writes them: stored and deflated entries, zip64; nothing is extracted to
// disk. Encrypted entries and names that lead outside are refused.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/byte_source.h"

namespace octavo {

inline constexpr int64_t kZipEntries = 4096;
inline constexpr int64_t kZipBytes = int64_t{64} << 30;  // of all entries, inflated
/// Deflate cannot reach a higher ratio; an entry that claims more lies about its size.
inline constexpr int64_t kZipRatio = 1032;

struct ZipEntry {
  std::string name;
  int64_t compressed_size = 0, size = 0;
  int64_t header_offset = 0;  // of the local header
  uint32_t crc = 0;
  bool deflated = false;
};

class ZipArchive {
 public:
  /// Reads the directory. Errors: kInvalidData, kLimitExceeded, kIo.
  static Result<ZipArchive> open(const std::string& path);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// The entry's bytes, inflated as they are read; its checksum is verified at its end.
  Result<std::unique_ptr<ByteSource>> read(const ZipEntry& entry) const;

 private:
  explicit ZipArchive(std::shared_ptr<const InputFile> file) : file_(std::move(file)) {}
  std::shared_ptr<const InputFile> file_;
  std::vector<ZipEntry> entries_;
};

}  // namespace octavo
