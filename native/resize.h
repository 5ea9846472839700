// Geometry of images: resizing as PIL does it, cropping, letterboxing.
#pragma once

#include "native/image.h"

namespace octavo {

/// Bilinear with antialias: PIL's triangle filter, in its 8-bit fixed-point arithmetic (equal
/// pixels). Errors: kLimitExceeded.
Result<Image> resize_image(const Image& image, int width, int height);

/// Resizes so that the short side has `size` pixels, the long side in proportion (rounded down).
Result<Image> resize_short_side(const Image& image, int size);

/// Puts `image` on a width x height canvas at (left, top), which may be negative: what falls
/// outside is cut off, and what is not covered has the value `pad`.
Image place_image(const Image& image, int left, int top, int width, int height, uint8_t pad);

/// The middle width x height pixels (smaller images are padded with `pad`), as torchvision's
/// CenterCrop rounds.
Image center_crop(const Image& image, int width, int height, uint8_t pad);

/// Grey by ITU-R 601 luma, as PIL's convert("L"); grey images are returned as they are.
Image to_grey(const Image& image);

}  // namespace octavo
