// Pieces of HTML and SVG as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/text.h"

namespace octavo::report {

/// Text with &, <, > and quotes as entities; control characters become spaces.
std::string escape(std::string_view text);
/// At most `length` characters, the middle left out.
std::string shorten(std::string_view text, size_t length);

/// An SVG drawing of `width` x `height` units that scales with the page.
class Drawing {
 public:
  Drawing(double width, double height, std::string_view label);
  /// `css`: a class of the page's style sheet. `hint`: shown under the pointer.
  void rect(double x, double y, double w, double h, std::string_view css,
            std::string_view hint = "");
  void line(double x1, double y1, double x2, double y2, std::string_view css);
  void circle(double x, double y, double r, std::string_view css, std::string_view hint = "");
  /// `points`: x, y, x, y, ...
  void polyline(const std::vector<double>& points, std::string_view css);
  void polygon(const std::vector<double>& points, std::string_view css);
  /// `anchor`: start, middle or end.
  void text(double x, double y, std::string_view text, std::string_view anchor = "start",
            std::string_view css = "");
  std::string finish() &&;

 private:
  void shape(std::string_view tag, const std::vector<double>& points, std::string_view css);
  std::string out_;
};

/// Round numbers that divide [low, high] into about `count` parts.
std::vector<double> ticks(double low, double high, int count);

}  // namespace octavo::report
