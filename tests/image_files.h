// Small JPEG and PNG files made by the tests themselves.
#pragma once

#include <png.h>
#include <turbojpeg.h>

#include <string>
#include <vector>

#include "native/image.h"

namespace octavo {

inline void append_png(png_structp png, png_bytep data, size_t size) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(data), size);
}

/// Rows of `pixels` hold width * channels(colour_type) * depth / 8 bytes.
inline std::string png_file(int width, int height, int colour_type, int depth,
                            const std::vector<uint8_t>& pixels,
                            const std::vector<png_color>& palette = {}) {
  std::string out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append_png, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth,
               colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  png_write_info(png, info);
  const size_t row = pixels.size() / static_cast<size_t>(height);
  for (size_t y = 0; y < static_cast<size_t>(height); ++y)
    png_write_row(png, pixels.data() + y * row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

inline std::string png_file(const Image& image) {
  return png_file(image.width, image.height,
                  image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, 8, image.pixels);
}

/// `format`: TJPF_RGB, TJPF_GRAY or TJPF_CMYK.
inline std::string jpeg_file(int width, int height, int format,
                             const std::vector<uint8_t>& pixels) {
  const tjhandle encoder = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  tjCompress2(encoder, pixels.data(), width, 0, height, format, &bytes, &size,
              format == TJPF_GRAY ? TJSAMP_GRAY : TJSAMP_444, 95, 0);
  std::string out(reinterpret_cast<const char*>(bytes), size);
  tjFree(bytes);
  tjDestroy(encoder);
  return out;
}

}  // namespace octavo
