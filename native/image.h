// JPEG and PNG files to 8-bit pixels.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace octavo {

/// Checked before memory is allocated.
inline constexpr int64_t kImagePixels = int64_t{1} << 27;

/// Rows of interleaved 8-bit channels.
struct Image {
  int width = 0, height = 0;
  int channels = 3;  // RGB, or 1: grey
  std::vector<uint8_t> pixels;
};

/// RGB of a JPEG (also grey and CMYK) or PNG (1 to 16 bits, palette; transparency is dropped).
/// EXIF rotation and colour profiles are ignored, as torchvision and PIL do. Errors (kInvalidData,
/// kLimitExceeded) call the image `name`; one that is cut off is an error.
Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name);
Result<Image> read_image(const std::string& path);

/// Whether the file name ends as a JPEG's or PNG's does.
bool has_image_extension(const std::string& path);

}  // namespace octavo
