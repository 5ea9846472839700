// How people write the ten digits, as the paths of a pen.
#pragma once

#include <span>
#include <vector>

namespace octavo::digits {

struct Point {
  double x = 0, y = 0;
};

/// A smooth curve through these points (x to the right, y downwards; a digit is 1 high and about
/// 0.6 wide). A point given twice in a row is a sharp corner.
using Stroke = std::vector<Point>;

/// One way of writing a digit.
struct Glyph {
  double weight;  // how common it is among the variants of its digit
  std::vector<Stroke> strokes;
};

/// The variants of `digit` (0 to 9).
std::span<const Glyph> glyphs(int digit);

}  // namespace octavo::digits
