#include "native/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "native/zip.h"

namespace octavo {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr size_t kMaxHeader = size_t{1} << 16;

struct NpyType {
  char kind;
  DType dtype;
};
constexpr NpyType kNpyTypes[] = {{'f', DType::kF16}, {'f', DType::kF32}, {'f', DType::kF64},
                                 {'i', DType::kI8},  {'i', DType::kI16}, {'i', DType::kI32},
                                 {'i', DType::kI64}, {'u', DType::kU8},  {'u', DType::kU16},
                                 {'u', DType::kU32}, {'u', DType::kU64}, {'b', DType::kBool}};

/// Reads the header's Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  bool parse() {
    if (!accept('{')) return false;
    while (!accept('}')) {
      const auto key = string();
      if (!key || !accept(':')) return false;
      if (*key == "descr") {
        descr = string();
        if (!descr) return false;
      } else if (*key == "fortran_order") {
        if (word("True")) {
          fortran_order = true;
        } else if (word("False")) {
          fortran_order = false;
        } else {
          return false;
        }
      } else if (*key == "shape") {
        if (!tuple()) return false;
      } else {
        return false;
      }
      if (!accept(',') && peek() != '}') return false;
    }
    return descr && fortran_order && shape;
  }

  std::optional<std::string> descr = {};
  std::optional<bool> fortran_order = {};
  std::optional<std::vector<int64_t>> shape = {};

 private:
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    peek();
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }
  std::optional<std::string> string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return std::nullopt;
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  bool tuple() {
    shape.emplace();
    if (!accept('(')) return false;
    while (!accept(')')) {
      int64_t dim = 0;
      bool any = false;
      for (char c = peek(); c >= '0' && c <= '9'; c = at_ < text_.size() ? text_[at_] : '\0') {
        if (dim > (std::numeric_limits<int64_t>::max() - 9) / 10) return false;
        dim = dim * 10 + (c - '0');
        any = true;
        ++at_;
      }
      if (!any) return false;
      accept('L');  // Python 2 wrote long integers so
      shape->push_back(dim);
      if (!accept(',') && peek() != ')') return false;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Status set_type(const std::string& descr, const std::string& name, DType& dtype, bool& swapped) {
  std::string_view type = descr;
  char order = '|';
  if (!type.empty() && std::string_view("<>|=").find(type.front()) != std::string_view::npos) {
    order = type.front();
    type.remove_prefix(1);
  }
  if (type == "?") type = "b1";
  for (const NpyType& row : kNpyTypes) {
    if (type == concat(row.kind, dtype_bytes(row.dtype))) {
      dtype = row.dtype;
      swapped = order == '>' && dtype_bytes(dtype) > 1;
      return {};
    }
  }
  if (type.starts_with('O')) {
    return fail(
        ErrorCode::kInvalidData, "'", name,
        "' holds Python objects (pickle), which are not read; save it as an array of numbers");
  }
  return fail(ErrorCode::kInvalidData, "'", name, "' has elements of type '", descr,
              "'; numbers and bool are supported");
}

void swap_bytes(std::span<uint8_t> bytes, int64_t width) {
  const auto step = static_cast<size_t>(width);
  for (size_t i = 0; i + step <= bytes.size(); i += step) {
    std::reverse(bytes.begin() + static_cast<ptrdiff_t>(i),
                 bytes.begin() + static_cast<ptrdiff_t>(i + step));
  }
}

/// Copies a Fortran-order array (first axis fastest) into row-major order.
void from_fortran_order(const Tensor& source, Tensor& out) {
  const Shape& shape = source.shape();
  if (shape.elements() == 0) return;
  const int rank = shape.rank();
  std::array<int64_t, kMaxRank> stride{}, index{};
  int64_t next = 1;
  for (int i = 0; i < rank; ++i) {
    stride[static_cast<size_t>(i)] = next;
    next *= shape[i];
  }
  visit_dtype_size(source.dtype(), [&]<class T>() {
    if constexpr (!std::is_same_v<T, std::string>) {
      const T* in = static_cast<const T*>(source.raw());
      int64_t offset = 0;
      for (T& element :
           std::span(static_cast<T*>(out.raw()), static_cast<size_t>(out.elements()))) {
        element = in[offset];
        for (int axis = rank - 1; axis >= 0; --axis) {
          const auto a = static_cast<size_t>(axis);
          offset += stride[a];
          if (++index[a] < shape[axis]) break;
          offset -= stride[a] * shape[axis];
          index[a] = 0;
        }
      }
    }
  });
}

Result<std::unique_ptr<ByteSource>> file_source(const std::string& path) {
  OCTAVO_ASSIGN(InputFile file, InputFile::open(path));
  const int64_t size = file.size();
  return std::make_unique<FileSource>(std::make_shared<const InputFile>(std::move(file)), 0, size,
                                      path);
}

}  // namespace

Status ArrayReader::check_size() const {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(shape_.elements(), dtype_bytes(dtype_), &bytes) ||
      bytes > source_->size() - header_bytes_) {
    return fail(ErrorCode::kInvalidData, "'", name(), "' is too short for an array of shape ",
                shape_.to_string(), " (is the file complete?)");
  }
  return {};
}

Status ArrayReader::read_raw(std::span<uint8_t> out) {
  OCTAVO_TRY(source_->read(out));
  if (swapped_) swap_bytes(out, dtype_bytes(dtype_));
  if (dtype_ == DType::kBool) {
    for (uint8_t& byte : out) byte = byte != 0;
  }
  return {};
}

Status ArrayReader::read(std::span<uint8_t> out) {
  if (!fortran_order_) return read_raw(out);
  if (!reordered_.present()) {
    OCTAVO_ASSIGN(Tensor source, Tensor::create(dtype_, shape_));
    OCTAVO_TRY(
        read_raw({static_cast<uint8_t*>(source.raw()), static_cast<size_t>(source.bytes())}));
    OCTAVO_ASSIGN(reordered_, Tensor::create(dtype_, shape_));
    from_fortran_order(source, reordered_);
  }
  if (static_cast<int64_t>(out.size()) > reordered_.bytes() - position_) {
    return fail(ErrorCode::kInvalidData, "'", name(), "' ends too early");
  }
  if (!out.empty()) {
    std::memcpy(out.data(), static_cast<const uint8_t*>(reordered_.raw()) + position_, out.size());
  }
  position_ += static_cast<int64_t>(out.size());
  return {};
}

Status ArrayReader::rewind() {
  position_ = 0;
  if (reordered_.present()) return {};
  OCTAVO_TRY(source_->rewind());
  std::vector<uint8_t> header(static_cast<size_t>(header_bytes_));
  return source_->read(header);
}

Result<Tensor> ArrayReader::read_all() {
  OCTAVO_TRY(rewind());
  OCTAVO_ASSIGN(Tensor out, Tensor::create(dtype_, shape_));
  OCTAVO_TRY(read({static_cast<uint8_t*>(out.raw()), static_cast<size_t>(out.bytes())}));
  return out;
}

Result<ArrayReader> open_npy(std::unique_ptr<ByteSource> source) {
  const std::string& name = source->name();
  const auto invalid = [&](const char* what) {
    return fail(ErrorCode::kInvalidData, "'", name, "' is not a readable .npy file: ", what);
  };
  std::array<uint8_t, 8> magic;
  if (!source->read(magic) || std::memcmp(magic.data(), "\x93NUMPY", 6) != 0) {
    return invalid("it does not start as one");
  }
  if (magic[6] < 1 || magic[6] > 3) return invalid("its version is unknown");
  std::array<uint8_t, 4> length_bytes{};
  const size_t length_size = magic[6] == 1 ? 2 : 4;
  if (!source->read(std::span(length_bytes).first(length_size)))
    return invalid("its header is cut off");
  const size_t length = std::bit_cast<uint32_t>(length_bytes);
  if (length > kMaxHeader) return invalid("its header is too long");
  std::string header(length, '\0');
  if (!source->read({reinterpret_cast<uint8_t*>(header.data()), length})) {
    return invalid("its header is cut off");
  }
  HeaderParser parser(header);
  if (!parser.parse()) return invalid("its header is wrong, or its elements are records");

  ArrayReader reader;
  OCTAVO_TRY(set_type(*parser.descr, name, reader.dtype_, reader.swapped_));
  if (parser.shape->size() > static_cast<size_t>(kMaxRank)) {
    return fail(ErrorCode::kLimitExceeded, "'", name, "' has ", parser.shape->size(),
                " dimensions, more than the limit of ", kMaxRank);
  }
  reader.shape_ = Shape(std::span<const int64_t>(*parser.shape));
  reader.fortran_order_ = *parser.fortran_order && reader.shape_.rank() > 1;
  reader.header_bytes_ = static_cast<int64_t>(magic.size() + length_size + length);
  reader.source_ = std::move(source);
  OCTAVO_TRY(reader.check_size());
  return reader;
}

Result<ArrayReader> open_npy(const std::string& path) {
  OCTAVO_ASSIGN(auto source, file_source(path));
  return open_npy(std::move(source));
}

Result<ArrayReader> open_idx(std::unique_ptr<ByteSource> source) {
  const std::string& name = source->name();
  const auto invalid = [&](const char* what) {
    return fail(ErrorCode::kInvalidData, "'", name, "' is not a readable idx file: ", what);
  };
  std::array<uint8_t, 4> magic;
  if (!source->read(magic) || magic[0] != 0 || magic[1] != 0)
    return invalid("it does not start as one");
  ArrayReader reader;
  switch (magic[2]) {
    case 0x08: reader.dtype_ = DType::kU8; break;
    case 0x09: reader.dtype_ = DType::kI8; break;
    case 0x0B: reader.dtype_ = DType::kI16; break;
    case 0x0C: reader.dtype_ = DType::kI32; break;
    case 0x0D: reader.dtype_ = DType::kF32; break;
    case 0x0E: reader.dtype_ = DType::kF64; break;
    default: return invalid("its element type is unknown");
  }
  if (magic[3] < 1 || magic[3] > kMaxRank)
    return invalid("its number of dimensions is out of range");
  for (int i = 0; i < magic[3]; ++i) {
    std::array<uint8_t, 4> dim;
    if (!source->read(dim)) return invalid("its header is cut off");
    reader.shape_.push_back((int64_t{dim[0]} << 24) | (dim[1] << 16) | (dim[2] << 8) | dim[3]);
  }
  reader.swapped_ = dtype_bytes(reader.dtype_) > 1;
  reader.header_bytes_ = 4 + 4 * magic[3];
  reader.source_ = std::move(source);
  OCTAVO_TRY(reader.check_size());
  return reader;
}

Result<ArrayReader> open_idx(const std::string& path) {
  OCTAVO_ASSIGN(auto source, file_source(path));
  return open_idx(std::move(source));
}

Result<std::vector<std::pair<std::string, ArrayReader>>> open_npz(const std::string& path) {
  OCTAVO_ASSIGN(const ZipArchive archive, ZipArchive::open(path));
  std::vector<std::pair<std::string, ArrayReader>> arrays;
  for (const ZipEntry& entry : archive.entries()) {
    constexpr std::string_view kSuffix = ".npy";
    if (!entry.name.ends_with(kSuffix)) {
      return fail(ErrorCode::kInvalidData, "'", path, "' has the entry '", entry.name,
                  "', which is not a .npy array");
    }
    OCTAVO_ASSIGN(auto source, archive.read(entry));
    OCTAVO_ASSIGN(ArrayReader reader, open_npy(std::move(source)));
    arrays.emplace_back(entry.name.substr(0, entry.name.size() - kSuffix.size()),
                        std::move(reader));
  }
  return arrays;
}

Result<Tensor> read_npy(const std::string& path) {
  OCTAVO_ASSIGN(ArrayReader reader, open_npy(path));
  return reader.read_all();
}

Result<std::vector<uint8_t>> npy_bytes(const Tensor& tensor) {
  Tensor stored = tensor;
  if (tensor.dtype() == DType::kBF16) {
    OCTAVO_ASSIGN(stored, Tensor::create(DType::kF32, tensor.shape()));
    std::ranges::copy(tensor.data<BFloat16>(), stored.data<float>().begin());
  }
  DType dtype = stored.dtype();
  if (dtype == DType::kI4) dtype = DType::kI8;
  if (dtype == DType::kU4) dtype = DType::kU8;
  std::string descr;
  for (const NpyType& row : kNpyTypes) {
    if (row.dtype == dtype) {
      descr = concat(dtype_bytes(dtype) == 1 ? '|' : '<', row.kind, dtype_bytes(dtype));
    }
  }
  if (descr.empty()) {
    return fail(ErrorCode::kInvalidArgument, "a tensor of ", dtype_name(tensor.dtype()),
                " cannot be written as .npy");
  }
  std::string header = concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (const int64_t dim : stored.shape()) header += concat(dim, ", ");
  header += "), }";
  // The data start at a multiple of 64 bytes, after 10 bytes of magic and length and a newline.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::vector<uint8_t> bytes = {0x93,
                                'N',
                                'U',
                                'M',
                                'P',
                                'Y',
                                1,
                                0,
                                static_cast<uint8_t>(header.size()),
                                static_cast<uint8_t>(header.size() >> 8)};
  bytes.insert(bytes.end(), header.begin(), header.end());
  const auto data = stored.raw_bytes();
  const auto* first = reinterpret_cast<const uint8_t*>(data.data());
  bytes.insert(bytes.end(), first, first + data.size());
  return bytes;
}

Status write_npy(const std::string& path, const Tensor& tensor) {
  OCTAVO_ASSIGN(const std::vector<uint8_t> bytes, npy_bytes(tensor));
  return write_file(path, bytes);
}

}  // namespace octavo
