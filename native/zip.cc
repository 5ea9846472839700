#include "native/zip.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

namespace octavo {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr uint32_t kDirectorySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr int64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56;
constexpr int64_t kDirectoryBytes = 46, kLocalBytes = 30;

template <class T>
T little_endian(const uint8_t* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<T>(static_cast<T>(bytes[i]) << (8 * i));
  return value;
}
uint16_t u16(const uint8_t* p) { return little_endian<uint16_t>(p); }
uint32_t u32(const uint8_t* p) { return little_endian<uint32_t>(p); }
int64_t i64(const uint8_t* p) { return static_cast<int64_t>(little_endian<uint64_t>(p)); }

std::unexpected<Error> damaged(const InputFile& file, const char* what) {
  return fail(ErrorCode::kInvalidData, "'", file.path(), "' is not a readable zip archive: ", what);
}

/// Inflates one entry, never giving more bytes than the directory says it has.
class InflateSource final : public ByteSource {
 public:
  InflateSource(FileSource compressed, const ZipEntry& entry, std::string name)
      : compressed_(std::move(compressed)), entry_(entry), name_(std::move(name)) {}
  ~InflateSource() override {
    if (open_) inflateEnd(&stream_);
  }
  InflateSource(const InflateSource&) = delete;
  InflateSource& operator=(const InflateSource&) = delete;

  const std::string& name() const override { return name_; }
  int64_t size() const override { return entry_.size; }

  Status rewind() override {
    if (open_) inflateEnd(&stream_);
    stream_ = {};
    open_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK;
    if (!open_) return fail(ErrorCode::kOutOfMemory, "out of memory to inflate '", name_, "'");
    position_ = 0;
    unread_ = entry_.compressed_size;
    crc_ = static_cast<uint32_t>(crc32(0, nullptr, 0));
    return compressed_.rewind();
  }

  Status read(std::span<uint8_t> out) override {
    if (!open_) OCTAVO_TRY(rewind());
    if (static_cast<int64_t>(out.size()) > entry_.size - position_) return corrupt();
    for (size_t done = 0; done < out.size();) {
      if (stream_.avail_in == 0) {
        const auto chunk = std::min<int64_t>(unread_, static_cast<int64_t>(buffer_.size()));
        OCTAVO_TRY(compressed_.read(std::span(buffer_).first(static_cast<size_t>(chunk))));
        unread_ -= chunk;
        stream_.next_in = buffer_.data();
        stream_.avail_in = static_cast<uInt>(chunk);
      }
      const size_t wanted = std::min<size_t>(out.size() - done, size_t{1} << 30);
      stream_.next_out = out.data() + done;
      stream_.avail_out = static_cast<uInt>(wanted);
      const uInt available = stream_.avail_in;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      const size_t made = wanted - stream_.avail_out;
      crc_ = static_cast<uint32_t>(crc32_z(crc_, out.data() + done, made));
      done += made;
      const bool stuck = made == 0 && stream_.avail_in == available;
      if ((status == Z_STREAM_END && done < out.size()) ||
          (status != Z_OK && status != Z_STREAM_END) || stuck) {
        return corrupt();
      }
    }
    position_ += static_cast<int64_t>(out.size());
    if (position_ == entry_.size && crc_ != entry_.crc) return corrupt();
    return {};
  }

 private:
  std::unexpected<Error> corrupt() const {
    return fail(ErrorCode::kInvalidData, "'", name_, "' is damaged: its compressed data are wrong");
  }

  FileSource compressed_;
  ZipEntry entry_;
  std::string name_;
  z_stream stream_{};
  bool open_ = false;
  int64_t position_ = 0, unread_ = 0;
  uint32_t crc_ = 0;
  std::array<uint8_t, 65536> buffer_;
};

struct DirectoryPlace {
  int64_t offset = 0, size = 0, entries = 0;
};

Result<DirectoryPlace> find_directory(const InputFile& file) {
  // The end record is last, before a comment of up to 64 KiB.
  const int64_t tail_size = std::min<int64_t>(file.size(), kEndBytes + 65535);
  std::vector<uint8_t> tail(static_cast<size_t>(tail_size));
  OCTAVO_TRY(file.read(file.size() - tail_size, tail));
  for (int64_t at = tail_size - kEndBytes; at >= 0; --at) {
    const uint8_t* end = tail.data() + at;
    if (u32(end) != kEndSignature) continue;
    DirectoryPlace place{u32(end + 16), u32(end + 12), u16(end + 10)};
    if (place.offset != 0xFFFFFFFF && place.size != 0xFFFFFFFF && place.entries != 0xFFFF)
      return place;
    if (at < kLocatorBytes || u32(end - kLocatorBytes) != kLocator64Signature) return place;
    const int64_t offset64 = i64(end - kLocatorBytes + 8);
    if (offset64 < 0 || offset64 > file.size() - kEnd64Bytes) break;
    std::array<uint8_t, kEnd64Bytes> end64;
    OCTAVO_TRY(file.read(offset64, end64));
    if (u32(end64.data()) != kEnd64Signature) break;
    return DirectoryPlace{i64(end64.data() + 48), i64(end64.data() + 40), i64(end64.data() + 32)};
  }
  return damaged(file, "its directory is missing (is the file complete?)");
}

/// Sizes that do not fit 32 bits are in the zip64 extra field, in this order.
bool read_zip64(std::span<const uint8_t> extra, ZipEntry& entry) {
  while (extra.size() >= 4) {
    const uint16_t id = u16(extra.data());
    const size_t length = u16(extra.data() + 2);
    if (length > extra.size() - 4) return false;
    if (id == 1) {
      std::span<const uint8_t> fields = extra.subspan(4, length);
      for (int64_t* field : {&entry.size, &entry.compressed_size, &entry.header_offset}) {
        if (*field != 0xFFFFFFFF) continue;
        if (fields.size() < 8) return false;
        *field = i64(fields.data());
        fields = fields.subspan(8);
      }
      return true;
    }
    extra = extra.subspan(4 + length);
  }
  return true;
}

bool is_safe_name(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return false;
  }
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('/', start), name.size());
    if (name.compare(start, end - start, "..") == 0) return false;
    start = end + 1;
  }
  return true;
}

}  // namespace

Result<ZipArchive> ZipArchive::open(const std::string& path) {
  OCTAVO_ASSIGN(InputFile opened, InputFile::open(path));
  const auto file = std::make_shared<const InputFile>(std::move(opened));
  OCTAVO_ASSIGN(const DirectoryPlace place, find_directory(*file));
  if (place.entries > kZipEntries) {
    return fail(ErrorCode::kLimitExceeded, "'", path, "' has ", place.entries,
                " entries, more than the limit of ", kZipEntries);
  }
  if (place.size < 0 || place.offset < 0 || place.size > file->size() ||
      place.offset > file->size() - place.size || place.size > (int64_t{64} << 20)) {
    return damaged(*file, "its directory lies outside the file");
  }
  std::vector<uint8_t> directory(static_cast<size_t>(place.size));
  OCTAVO_TRY(file->read(place.offset, directory));

  ZipArchive archive(file);
  std::set<std::string> names;
  std::span<const uint8_t> rest(directory);
  int64_t total = 0;
  for (int64_t i = 0; i < place.entries; ++i) {
    if (rest.size() < kDirectoryBytes || u32(rest.data()) != kDirectorySignature) {
      return damaged(*file, "its directory is cut off");
    }
    const uint8_t* record = rest.data();
    const uint16_t flags = u16(record + 8), method = u16(record + 10);
    const size_t name_length = u16(record + 28), extra_length = u16(record + 30);
    const size_t length = kDirectoryBytes + name_length + extra_length + u16(record + 32);
    if (length > rest.size()) return damaged(*file, "its directory is cut off");
    ZipEntry entry;
    entry.name.assign(reinterpret_cast<const char*>(record) + kDirectoryBytes, name_length);
    entry.crc = u32(record + 16);
    entry.compressed_size = u32(record + 20);
    entry.size = u32(record + 24);
    entry.header_offset = u32(record + 42);
    entry.deflated = method == 8;
    if (!read_zip64(rest.subspan(kDirectoryBytes + name_length, extra_length), entry)) {
      return damaged(*file, "its directory is wrong");
    }
    rest = rest.subspan(length);
    if (!is_safe_name(entry.name) || !names.insert(entry.name).second) {
      return fail(ErrorCode::kInvalidData, "'", path, "' has an entry with a bad name: '",
                  entry.name, "'");
    }
    if ((flags & 1) != 0) {
      return fail(ErrorCode::kInvalidData, "entry '", entry.name, "' of '", path,
                  "' is encrypted; save the archive without a password");
    }
    if (method != 0 && method != 8) {
      return fail(ErrorCode::kInvalidData, "entry '", entry.name, "' of '", path,
                  "' is compressed by method ", method, "; use stored or deflated entries");
    }
    if (entry.size < 0 || entry.compressed_size < 0 || entry.compressed_size > file->size() ||
        entry.header_offset < 0 || entry.header_offset > file->size() - kLocalBytes ||
        (method == 0 && entry.size != entry.compressed_size)) {
      return damaged(*file, "an entry lies outside the file");
    }
    if (entry.size / kZipRatio > entry.compressed_size || entry.size > kZipBytes - total) {
      return fail(ErrorCode::kLimitExceeded, "entry '", entry.name, "' of '", path,
                  "' would inflate to more than is allowed");
    }
    total += entry.size;
    archive.entries_.push_back(std::move(entry));
  }
  return archive;
}

Result<std::unique_ptr<ByteSource>> ZipArchive::read(const ZipEntry& entry) const {
  std::array<uint8_t, kLocalBytes> header;
  OCTAVO_TRY(file_->read(entry.header_offset, header));
  if (u32(header.data()) != kLocalSignature) return damaged(*file_, "an entry's header is wrong");
  // The local header repeats the name and may have extra fields of its own.
  const int64_t offset =
      entry.header_offset + kLocalBytes + u16(header.data() + 26) + u16(header.data() + 28);
  if (offset > file_->size() - entry.compressed_size) {
    return damaged(*file_, "an entry lies outside the file");
  }
  std::string name = concat(file_->path(), ":", entry.name);
  FileSource bytes(file_, offset, entry.compressed_size, name);
  if (entry.deflated) {
    return std::make_unique<InflateSource>(std::move(bytes), entry, std::move(name));
  }
  return std::make_unique<FileSource>(std::move(bytes));
}

}  // namespace octavo
