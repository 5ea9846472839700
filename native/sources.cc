#include "native/sources.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>

namespace octavo {
namespace {

namespace fs = std::filesystem;

class ImageSource final : public SampleSource {
 public:
  explicit ImageSource(std::vector<std::string> files) : files_(std::move(files)) {}

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  SampleType type() const override { return {DType::kU8, Shape::unknown(), true}; }
  Status rewind() override {
    position_ = 0;
    return {};
  }
  std::string describe(int64_t index) const override {
    return concat("image '", files_[static_cast<size_t>(index)], "'");
  }
  Result<Sample> next() override {
    OCTAVO_ASSIGN(Image image, read_image(files_[position_]));
    ++position_;
    return Sample{DType::kU8, {image.height, image.width, image.channels}, std::move(image.pixels)};
  }

 private:
  std::vector<std::string> files_;
  size_t position_ = 0;
};

class ArraySource final : public SampleSource {
 public:
  ArraySource(ArrayReader reader, const Shape& shape) : reader_(std::move(reader)), shape_(shape) {}

  int64_t size() const override { return reader_.shape()[0]; }
  SampleType type() const override { return {reader_.dtype(), shape_, false}; }
  Status rewind() override { return reader_.rewind(); }
  std::string describe(int64_t index) const override {
    return concat("sample ", index, " of '", reader_.name(), "'");
  }
  Result<Sample> next() override {
    const auto bytes = static_cast<size_t>(shape_.elements() * dtype_bytes(reader_.dtype()));
    Sample sample{reader_.dtype(), shape_, std::vector<uint8_t>(bytes)};
    OCTAVO_TRY(reader_.read(sample.bytes));
    return sample;
  }

 private:
  ArrayReader reader_;
  Shape shape_;  // of one sample
};

std::optional<int64_t> to_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trimmed(std::string_view text) {
  const auto is_padding = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '"'; };
  while (!text.empty() && is_padding(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_padding(text.back())) text.remove_suffix(1);
  return text;
}

struct LabelLine {
  std::string file;  // what stands before the last comma
  int64_t label = 0;
};

Result<std::vector<LabelLine>> read_label_csv(const std::string& path) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(path));
  std::string_view rest(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<LabelLine> lines;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty()) continue;
    const size_t comma = line.rfind(',');
    const bool has_file = comma != std::string_view::npos;
    const auto label = to_integer(trimmed(has_file ? line.substr(comma + 1) : line));
    if (!label && number == 1) continue;  // the header
    if (!label) {
      return fail(ErrorCode::kInvalidData, "line ", number, " of '", path,
                  "' has no integer label at its end");
    }
    lines.push_back({std::string(has_file ? trimmed(line.substr(0, comma)) : ""), *label});
  }
  if (lines.empty()) return fail(ErrorCode::kInvalidData, "'", path, "' has no labels");
  return lines;
}

Result<std::vector<fs::directory_entry>> list_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!it->path().filename().string().starts_with('.')) entries.push_back(*it);
  }
  if (error) return fail(ErrorCode::kIo, "cannot list '", folder.string(), "': ", error.message());
  std::ranges::sort(entries);
  return entries;
}

std::vector<std::string> images_among(std::span<const fs::directory_entry> entries) {
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : entries) {
    std::error_code error;
    if (has_image_extension(entry.path().string()) && entry.is_regular_file(error)) {
      files.push_back(entry.path().string());
    }
  }
  return files;
}

/// A folder per class.
Result<ImageFolder> list_class_folders(std::span<const fs::directory_entry> entries) {
  std::vector<std::pair<std::string, std::vector<std::string>>> classes;
  bool all_numbers = true;
  for (const fs::directory_entry& entry : entries) {
    std::error_code error;
    if (!entry.is_directory(error)) continue;
    OCTAVO_ASSIGN(const auto inner, list_folder(entry.path()));
    std::vector<std::string> files = images_among(inner);
    if (files.empty()) continue;
    classes.emplace_back(entry.path().filename().string(), std::move(files));
    all_numbers = all_numbers && to_integer(classes.back().first).has_value();
  }
  ImageFolder folder;
  for (size_t i = 0; i < classes.size(); ++i) {
    const int64_t label = all_numbers ? *to_integer(classes[i].first) : static_cast<int64_t>(i);
    for (std::string& file : classes[i].second) {
      folder.files.push_back(std::move(file));
      folder.labels.push_back(label);
    }
  }
  return folder;
}

}  // namespace

std::unique_ptr<SampleSource> make_image_source(std::vector<std::string> files) {
  return std::make_unique<ImageSource>(std::move(files));
}

Result<std::unique_ptr<SampleSource>> make_array_source(ArrayReader reader) {
  const Shape& shape = reader.shape();
  if (shape.rank() < 1) {
    return fail(ErrorCode::kShapeMismatch, "'", reader.name(),
                "' is a scalar; its first axis must be the samples");
  }
  const Shape sample(shape.dims().subspan(1));
  int64_t bytes = 0;  // the array's size was checked, but with no samples it says nothing
  if (__builtin_mul_overflow(sample.elements(), dtype_bytes(reader.dtype()), &bytes)) {
    return fail(ErrorCode::kLimitExceeded, "samples of '", reader.name(), "' are too large");
  }
  return std::make_unique<ArraySource>(std::move(reader), sample);
}

Result<ImageFolder> list_images(const std::string& folder, const std::string& labels_file) {
  OCTAVO_ASSIGN(const auto entries, list_folder(folder));
  const std::string default_labels = (fs::path(folder) / "labels.csv").string();
  std::error_code error;
  std::string labels = labels_file;
  if (labels.empty() && fs::exists(default_labels, error)) labels = default_labels;
  if (labels.ends_with(".csv")) {
    OCTAVO_ASSIGN(const auto lines, read_label_csv(labels));
    ImageFolder listed;
    for (const LabelLine& line : lines) {
      const std::string file = (fs::path(folder) / line.file).string();
      if (line.file.empty() || !fs::is_regular_file(file, error)) {
        return fail(ErrorCode::kNotFound, "'", labels, "' names the file '", line.file,
                    "', which is not in '", folder, "'");
      }
      listed.files.push_back(file);
      listed.labels.push_back(line.label);
    }
    return listed;
  }
  ImageFolder listed{images_among(entries), {}};
  if (listed.files.empty()) {
    OCTAVO_ASSIGN(listed, list_class_folders(entries));
  }
  if (!labels.empty() && !listed.files.empty()) {
    OCTAVO_ASSIGN(listed.labels, read_labels(labels));
  }
  return listed;
}

Result<std::vector<int64_t>> to_labels(ArrayReader& reader) {
  if (dtype_info(reader.dtype()).is_float) {
    return fail(ErrorCode::kInvalidData, "the labels in '", reader.name(), "' are not integers");
  }
  OCTAVO_ASSIGN(const Tensor tensor, reader.read_all());
  std::vector<int64_t> labels(static_cast<size_t>(tensor.elements()));
  visit_dtype(
      tensor.dtype(),
      [&]<class T>() {
        std::ranges::transform(tensor.data<T>(), labels.begin(), [](T label) {
          return static_cast<int64_t>(static_cast<ComputeType<T>>(label));
        });
      },
      [] {});
  return labels;
}

Result<std::vector<int64_t>> read_labels(const std::string& path) {
  if (path.ends_with(".csv")) {
    OCTAVO_ASSIGN(const auto lines, read_label_csv(path));
    std::vector<int64_t> labels;
    for (const LabelLine& line : lines) labels.push_back(line.label);
    return labels;
  }
  OCTAVO_ASSIGN(ArrayReader reader, path.ends_with(".npy") ? open_npy(path) : open_idx(path));
  return to_labels(reader);
}

}  // namespace octavo
