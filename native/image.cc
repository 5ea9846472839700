#include "native/image.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cctype>
#include <csetjmp>
#include <cstring>
#include <memory>

#include "native/files.h"

namespace octavo {
namespace {

std::unexpected<Error> unreadable(const std::string& name, const char* why) {
  return fail(ErrorCode::kInvalidData, "cannot read the image '", name, "': ", why);
}

Status check_size(const std::string& name, int64_t width, int64_t height) {
  if (width < 1 || height < 1) return unreadable(name, "it has no pixels");
  if (width > kImagePixels || height > kImagePixels || width * height > kImagePixels) {
    return fail(ErrorCode::kLimitExceeded, "the image '", name, "' has ", width, " x ", height,
                " pixels, more than the limit of ", kImagePixels);
  }
  return {};
}

/// Adobe's CMYK, which is stored inverted: 255 means no ink.
void cmyk_to_rgb(std::span<const uint8_t> cmyk, std::span<uint8_t> rgb) {
  for (size_t i = 0; i * 4 < cmyk.size(); ++i) {
    const int black = cmyk[i * 4 + 3];
    for (size_t c = 0; c < 3; ++c)
      rgb[i * 3 + c] = static_cast<uint8_t>((cmyk[i * 4 + c] * black + 127) / 255);
  }
}

Result<Image> decode_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  const std::unique_ptr<void, int (*)(void*)> decoder(tjInitDecompress(), tjDestroy);
  if (decoder == nullptr)
    return fail(ErrorCode::kOutOfMemory, "out of memory to read '", name, "'");
  int width = 0, height = 0, subsampling = 0, colour = 0;
  if (tjDecompressHeader3(decoder.get(), bytes.data(), bytes.size(), &width, &height, &subsampling,
                          &colour) != 0) {
    return unreadable(name, tjGetErrorStr2(decoder.get()));
  }
  OCTAVO_TRY(check_size(name, width, height));
  const bool cmyk = colour == TJCS_CMYK || colour == TJCS_YCCK;
  const auto pixel_count = static_cast<size_t>(width) * static_cast<size_t>(height);
  Image image{width, height, 3, std::vector<uint8_t>(pixel_count * 3)};
  std::vector<uint8_t> inks(cmyk ? pixel_count * 4 : 0);
  if (tjDecompress2(decoder.get(), bytes.data(), bytes.size(),
                    cmyk ? inks.data() : image.pixels.data(), width, 0, height,
                    cmyk ? TJPF_CMYK : TJPF_RGB, TJFLAG_LIMITSCANS) != 0) {
    const char* why = tjGetErrorStr2(decoder.get());
    // Padding between segments is harmless; every other warning means missing or wrong data.
    if (tjGetErrorCode(decoder.get()) != TJERR_WARNING ||
        std::strstr(why, "extraneous") == nullptr) {
      return unreadable(name, why);
    }
  }
  if (cmyk) cmyk_to_rgb(inks, image.pixels);
  return image;
}

/// Outlives libpng's longjmp: nothing with a destructor lives in a frame that is jumped over.
struct PngDecoder {
  std::span<const uint8_t> rest;
  char message[128] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  png_uint_32 width = 0, height = 0;
  std::vector<png_bytep> rows;

  ~PngDecoder() { png_destroy_read_struct(&png, &info, nullptr); }

  static void read(png_structp png, png_bytep out, size_t size) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (size > self->rest.size()) png_error(png, "the file ends too early");
    std::memcpy(out, self->rest.data(), size);
    self->rest = self->rest.subspan(size);
  }
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::strncpy(self->message, text, sizeof self->message - 1);
    std::longjmp(*png_set_longjmp_fn(png, std::longjmp, sizeof(jmp_buf)), 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

  bool read_header() {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_read_fn(png, this, read);
    png_read_info(png, info);
    width = png_get_image_width(png, info);
    height = png_get_image_height(png, info);
    return true;
  }
  /// Allocates by the size that read_header() found.
  bool prepare() {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
  }
  bool read_pixels() {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
    return true;
  }
};

Result<Image> decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  PngDecoder decoder{bytes};
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, PngDecoder::on_error,
                                       PngDecoder::on_warning);
  if (decoder.png != nullptr) decoder.info = png_create_info_struct(decoder.png);
  if (decoder.info == nullptr)
    return fail(ErrorCode::kOutOfMemory, "out of memory to read '", name, "'");
  png_set_user_limits(decoder.png, 0x7FFFFFFF, 0x7FFFFFFF);  // ours is on the product
  if (!decoder.read_header()) return unreadable(name, decoder.message);
  OCTAVO_TRY(check_size(name, decoder.width, decoder.height));
  if (!decoder.prepare()) return unreadable(name, decoder.message);
  const size_t row_bytes = png_get_rowbytes(decoder.png, decoder.info);
  if (row_bytes != size_t{decoder.width} * 3)
    return unreadable(name, "its pixel format is unknown");
  Image image{static_cast<int>(decoder.width), static_cast<int>(decoder.height), 3,
              std::vector<uint8_t>(row_bytes * decoder.height)};
  for (png_uint_32 y = 0; y < decoder.height; ++y) {
    decoder.rows.push_back(image.pixels.data() + y * row_bytes);
  }
  if (!decoder.read_pixels()) return unreadable(name, decoder.message);
  return image;
}

}  // namespace

Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr uint8_t kJpeg[] = {0xFF, 0xD8}, kPng[] = {0x89, 'P', 'N', 'G'};
  if (bytes.size() >= 4 && std::equal(kJpeg, std::end(kJpeg), bytes.begin())) {
    return decode_jpeg(bytes, name);
  }
  if (bytes.size() >= 4 && std::equal(kPng, std::end(kPng), bytes.begin())) {
    return decode_png(bytes, name);
  }
  return unreadable(name, bytes.empty() ? "the file is empty" : "it is neither JPEG nor PNG");
}

Result<Image> read_image(const std::string& path) {
  OCTAVO_ASSIGN(const MappedFile file, map_file(path));
  return decode_image(file.bytes, path);
}

bool has_image_extension(const std::string& path) {
  const size_t dot = path.rfind('.');
  if (dot == std::string::npos) return false;
  std::string extension = path.substr(dot);
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

}  // namespace octavo
