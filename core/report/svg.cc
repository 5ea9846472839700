#include "core/report/svg.h"

#include <algorithm>
#include <cmath>

#include "runtime/status.h"

namespace octavo::report {

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string shorten(std::string_view text, size_t length) {
  if (text.size() <= length || length < 4) return std::string(text);
  // Cuts between characters, not inside one of several bytes.
  const auto is_inside = [&](size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
  };
  size_t left = length / 2 - 1, right = text.size() - (length - left - 1);
  while (left > 0 && is_inside(left)) --left;
  while (is_inside(right)) ++right;
  return concat(text.substr(0, left), "…", text.substr(right));
}

namespace {

// Coordinates with a tenth of a unit, "-0.0" as "0".
std::string at(double value) {
  std::string text = number_text(std::isfinite(value) ? value : 0, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string with_hint(std::string_view tag, std::string_view hint) {
  return hint.empty() ? "/>" : concat("><title>", escape(hint), "</title></", tag, ">");
}

}  // namespace

Drawing::Drawing(double width, double height, std::string_view label)
    : out_(concat("<svg viewBox=\"0 0 ", at(width), " ", at(height),
                  "\" role=\"img\" aria-label=\"", escape(label), "\">")) {}

void Drawing::rect(double x, double y, double w, double h, std::string_view css,
                   std::string_view hint) {
  out_ += concat("<rect x=\"", at(x), "\" y=\"", at(y), "\" width=\"", at(std::max(w, 0.0)),
                 "\" height=\"", at(std::max(h, 0.0)), "\" class=\"", css, "\"",
                 with_hint("rect", hint));
}

void Drawing::line(double x1, double y1, double x2, double y2, std::string_view css) {
  out_ += concat("<line x1=\"", at(x1), "\" y1=\"", at(y1), "\" x2=\"", at(x2), "\" y2=\"", at(y2),
                 "\" class=\"", css, "\"/>");
}

void Drawing::circle(double x, double y, double r, std::string_view css, std::string_view hint) {
  out_ += concat("<circle cx=\"", at(x), "\" cy=\"", at(y), "\" r=\"", at(r), "\" class=\"", css,
                 "\"", with_hint("circle", hint));
}

void Drawing::shape(std::string_view tag, const std::vector<double>& points, std::string_view css) {
  out_ += concat("<", tag, " class=\"", css, "\" points=\"");
  for (size_t i = 0; i + 1 < points.size(); i += 2) {
    out_ += concat(i == 0 ? "" : " ", at(points[i]), ",", at(points[i + 1]));
  }
  out_ += "\"/>";
}
void Drawing::polyline(const std::vector<double>& points, std::string_view css) {
  shape("polyline", points, css);
}
void Drawing::polygon(const std::vector<double>& points, std::string_view css) {
  shape("polygon", points, css);
}

void Drawing::text(double x, double y, std::string_view text, std::string_view anchor,
                   std::string_view css) {
  out_ += concat("<text x=\"", at(x), "\" y=\"", at(y), "\" text-anchor=\"", anchor, "\"",
                 css.empty() ? "" : concat(" class=\"", css, "\""), ">", escape(text), "</text>");
}

std::string Drawing::finish() && { return std::move(out_) + "</svg>"; }

std::vector<double> ticks(double low, double high, int count) {
  std::vector<double> list;
  if (!(high > low) || count < 1) return {low};
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (step >= rough) break;
  }
  for (double t = std::ceil(low / step); t * step <= high + step * 1e-9; ++t) {
    list.push_back(t * step);
  }
  return list;
}

}  // namespace octavo::report
