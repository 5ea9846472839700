#include "native/model_file.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "native/files.h"
#include "runtime/limits.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

/// The file that external data named `location` are in: one inside `folder`, which is canonical.
Result<std::string> contained_file(const fs::path& folder, const std::string& location) {
  const fs::path relative(location);
  const auto refused = [&](const char* why) {
    return fail(ErrorCode::kInvalidModel, "the model names the external-data file '", location,
                "', ", why);
  };
  if (location.empty() || location.find('\0') != std::string::npos)
    return refused("which is not a name");
  if (relative.is_absolute())
    return refused("which is an absolute path; it must be relative to the model");
  for (const fs::path& part : relative) {
    if (part == "..") return refused("which is outside the model's folder");
  }
  std::error_code error;
  const fs::path file = fs::canonical(folder / relative, error);
  if (error) {
    return fail(ErrorCode::kNotFound, "the model's external-data file '",
                (folder / relative).string(), "' cannot be read: ", error.message());
  }
  const auto [end, unused] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  if (end != folder.end()) return refused("a link that leads outside the model's folder");
  if (!fs::is_regular_file(file, error)) return refused("which is not a regular file");
  return file.string();
}

class ExternalFiles {
 public:
  explicit ExternalFiles(fs::path folder) : folder_(std::move(folder)) {}

  Result<Bytes> read(const std::string& location, int64_t offset, int64_t length) {
    auto found = files_.find(location);
    if (found == files_.end()) {
      OCTAVO_ASSIGN(const std::string path, contained_file(folder_, location));
      OCTAVO_ASSIGN(InputFile file, InputFile::open(path));
      found = files_.emplace(location, std::move(file)).first;
    }
    const InputFile& file = found->second;
    if (offset < 0 || offset > file.size() || length < 0 || length > file.size() - offset) {
      return fail(ErrorCode::kInvalidModel, "the external-data file '", file.path(), "' of ",
                  file.size(), " bytes is too short for ", length, " bytes at ", offset);
    }
    const int64_t size = length == 0 ? file.size() - offset : length;
    if (size > limits::kTensorBytes) {
      return fail(ErrorCode::kLimitExceeded, "the external data in '", file.path(),
                  "' are larger than ", limits::kTensorBytes >> 30, " GiB");
    }
    Bytes bytes(static_cast<size_t>(size));
    OCTAVO_TRY(file.read(offset, bytes));
    return bytes;
  }

  int64_t total_bytes() const {
    int64_t total = 0;
    for (const auto& [location, file] : files_) total += file.size();
    return total;
  }

 private:
  fs::path folder_;
  std::map<std::string, InputFile> files_;
};

}  // namespace

Result<LoadedModel> load_model(const std::string& path, bool optimize) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(path));
  std::error_code error;
  const fs::path folder = fs::canonical(path, error).parent_path();
  ExternalFiles external(folder);
  LoadOptions options;
  options.owner = file.owner;
  options.optimize = optimize;
  options.external_data = [&](const std::string& location, int64_t offset, int64_t length) {
    return external.read(location, offset, length);
  };
  auto model = Model::load(file.bytes, options);
  if (!model) {
    Error failure = std::move(model).error();
    failure.message = concat("'", path, "': ", failure.message);
    return std::unexpected(std::move(failure));
  }
  return LoadedModel{*std::move(model),
                     static_cast<int64_t>(file.bytes.size()) + external.total_bytes()};
}

Result<int64_t> save_model(const Model& model, const std::string& path,
                           const OnnxOptions& options) {
  if (std::ranges::none_of(kModelEndings, [&](const char* end) { return path.ends_with(end); })) {
    return fail(ErrorCode::kInvalidArgument, "the name of a model file ends in .onnx or .octavo; '",
                path, "' does not");
  }
  OCTAVO_ASSIGN(const Bytes bytes,
                path.ends_with(".onnx") ? model.to_onnx(options) : model.to_compact());
  OCTAVO_TRY(write_file(path, bytes));
  return static_cast<int64_t>(bytes.size());
}

}  // namespace octavo
