#include "native/calibration_folder.h"

#include <filesystem>

#include "native/files.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

class CalibrationFolder final : public CalibrationStore {
 public:
  explicit CalibrationFolder(std::string path) : path_(std::move(path)) {}

  std::optional<Bytes> load(const std::string& name) override {
    auto bytes = read_file(file(name));
    return bytes ? std::optional(*std::move(bytes)) : std::nullopt;
  }
  Status save(const std::string& name, std::span<const uint8_t> bytes) override {
    return write_file(file(name), bytes);
  }

 private:
  std::string file(const std::string& name) const {
    return (fs::path(path_) / concat(name, ".calibration")).string();
  }
  std::string path_;
};

}  // namespace

Result<std::shared_ptr<CalibrationStore>> open_calibration_folder(const std::string& path) {
  OCTAVO_TRY(make_folder(path));
  return std::make_shared<CalibrationFolder>(path);
}

}  // namespace octavo
