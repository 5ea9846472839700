// Arrays in files: numpy's .npy (versions 1 to 3) and .npz, and idx (MNIST's format).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/byte_source.h"
#include "runtime/session.h"

namespace octavo {

/// An array read front to back in row-major order and the machine's byte order. Memory does not
/// depend on the array's size, except in Fortran order, which is read whole.
class ArrayReader {
 public:
  ArrayReader() = default;
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const std::string& name() const { return source_->name(); }

  /// The next elements; out.size() is a multiple of the element's size.
  Status read(std::span<uint8_t> out);
  Status rewind();
  /// The whole array.
  Result<Tensor> read_all();

 private:
  friend Result<ArrayReader> open_npy(std::unique_ptr<ByteSource> source);
  friend Result<ArrayReader> open_idx(std::unique_ptr<ByteSource> source);
  Status check_size() const;
  Status read_raw(std::span<uint8_t> out);

  std::unique_ptr<ByteSource> source_;
  DType dtype_ = DType::kUndefined;
  Shape shape_;
  bool fortran_order_ = false, swapped_ = false;
  int64_t header_bytes_ = 0;
  Tensor reordered_ = {};  // of a Fortran-order array
  int64_t position_ = 0;   // in reordered_, bytes
};

/// Every number type, bool and float16, in C or Fortran order and either byte order. Arrays of
/// Python objects, strings and records are refused. Errors: kInvalidData naming the file.
Result<ArrayReader> open_npy(std::unique_ptr<ByteSource> source);
Result<ArrayReader> open_npy(const std::string& path);
/// idx: ubyte, byte, short, int, float and double.
Result<ArrayReader> open_idx(std::unique_ptr<ByteSource> source);
Result<ArrayReader> open_idx(const std::string& path);
/// The arrays of a .npz by name, without ".npy".
Result<std::vector<std::pair<std::string, ArrayReader>>> open_npz(const std::string& path);

Result<Tensor> read_npy(const std::string& path);

/// The bytes of a version-1 .npy file. bf16 is widened to float32, 4-bit integers to a byte, since
/// numpy has neither. Strings are an error.
Result<std::vector<uint8_t>> npy_bytes(const Tensor& tensor);
/// Written under a temporary name, then renamed.
Status write_npy(const std::string& path, const Tensor& tensor);

}  // namespace octavo
