#include "native/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace octavo {
namespace {

std::unexpected<Error> io_error(const std::string& path, const char* what) {
  const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return fail(code, what, " '", path, "': ", std::strerror(errno));
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

Result<MappedFile> map_file(const std::string& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return io_error(path, "cannot open");
  struct stat info{};
  if (::fstat(file.fd, &info) != 0) return io_error(path, "cannot read");
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kIo, "'", path, "' is not a file");
  }
  if (info.st_size == 0) return MappedFile{};
  const auto size = static_cast<size_t>(info.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (memory == MAP_FAILED) return io_error(path, "cannot map");
  return MappedFile{{static_cast<const uint8_t*>(memory), size},
                    std::shared_ptr<const void>(
                        memory, [size](const void* p) { ::munmap(const_cast<void*>(p), size); })};
}

Result<std::vector<uint8_t>> read_file(const std::string& path) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(path));
  return std::vector<uint8_t>(file.bytes.begin(), file.bytes.end());
}

Result<InputFile> InputFile::open(const std::string& path) {
  InputFile file;
  file.path_ = path;
  file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd_ < 0) return io_error(path, "cannot open");
  struct stat info{};
  if (::fstat(file.fd_, &info) != 0) return io_error(path, "cannot read");
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kIo, "'", path, "' is not a file");
  file.size_ = info.st_size;
  return file;
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status InputFile::read(int64_t offset, std::span<uint8_t> out) const {
  for (size_t done = 0; done < out.size();) {
    const ssize_t n = ::pread(fd_, out.data() + done, out.size() - done,
                              static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (n == 0) return fail(ErrorCode::kIo, "'", path_, "' ends too early");
    if (n < 0 && errno != EINTR) return io_error(path_, "cannot read");
    if (n > 0) done += static_cast<size_t>(n);
  }
  return {};
}

bool is_same_file(const std::string& a, const std::string& b) {
  struct stat first{}, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

Status make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return fail(ErrorCode::kIo, "cannot make the folder '", path, "': ", error.message());
}

Status check_writable(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (!std::filesystem::is_directory(folder)) {
    return fail(ErrorCode::kNotFound, "cannot write '", path, "': there is no folder '", folder,
                "'");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return io_error(path, "cannot write");
  if (std::filesystem::is_directory(path)) return fail(ErrorCode::kIo, "'", path, "' is a folder");
  return {};
}

Status write_file(const std::string& path, std::span<const uint8_t> bytes) {
  return write_file(path, std::span(&bytes, 1));
}

Status write_file(const std::string& path, std::span<const std::span<const uint8_t>> parts) {
  std::string temporary = path + ".XXXXXX";
  Descriptor file{::mkostemp(temporary.data(), O_CLOEXEC)};
  if (file.fd < 0) return io_error(path, "cannot write");
  const auto abandon = [&] {
    auto error = io_error(path, "cannot write");
    ::unlink(temporary.c_str());
    return error;
  };
  for (std::span<const uint8_t> rest : parts) {
    while (!rest.empty()) {
      const ssize_t n = ::write(file.fd, rest.data(), rest.size());
      if (n < 0 && errno != EINTR) return abandon();
      if (n > 0) rest = rest.subspan(static_cast<size_t>(n));
    }
  }
  if (::fchmod(file.fd, 0644) != 0 || ::fsync(file.fd) != 0 ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    return abandon();
  }
  return {};
}

}  // namespace octavo
