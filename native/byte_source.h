// Bytes read front to back, from a file or out of a compressed archive entry.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "native/files.h"

namespace octavo {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// What error messages call it.
  virtual const std::string& name() const = 0;
  virtual int64_t size() const = 0;
  /// Fills `out` with the next bytes; an error if fewer are left.
  virtual Status read(std::span<uint8_t> out) = 0;
  virtual Status rewind() = 0;
};

/// `size` bytes of a file from `offset` on.
class FileSource final : public ByteSource {
 public:
  FileSource(std::shared_ptr<const InputFile> file, int64_t offset, int64_t size, std::string name)
      : file_(std::move(file)), offset_(offset), size_(size), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  int64_t size() const override { return size_; }
  Status read(std::span<uint8_t> out) override {
    if (static_cast<int64_t>(out.size()) > size_ - position_) {
      return fail(ErrorCode::kInvalidData, "'", name_, "' ends too early");
    }
    OCTAVO_TRY(file_->read(offset_ + position_, out));
    position_ += static_cast<int64_t>(out.size());
    return {};
  }
  Status rewind() override {
    position_ = 0;
    return {};
  }

 private:
  std::shared_ptr<const InputFile> file_;
  int64_t offset_, size_, position_ = 0;
  std::string name_;
};

}  // namespace octavo
