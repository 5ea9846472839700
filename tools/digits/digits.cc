#include "tools/digits/digits.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tools/digits/glyphs.h"
#include "tools/digits/random.h"

// Only + - * / sqrt on doubles, which IEEE 754 fixes to the last bit: sin, exp and their kin differ
// between C libraries.
namespace octavo::digits {
namespace {

/// A point of the pen's path; `radius` is half the line's width.
struct Inked {
  double x, y, radius;
};
using Path = std::vector<Inked>;

constexpr double square(double x) { return x * x; }
constexpr double smoothstep(double t) { return t * t * (3 - 2 * t); }

const Glyph& pick_variant(int digit, Random& random) {
  const auto variants = glyphs(digit);
  double total = 0;
  for (const Glyph& glyph : variants) total += glyph.weight;
  double left = random.uniform() * total;
  for (const Glyph& glyph : variants) {
    left -= glyph.weight;
    if (left < 0) return glyph;
  }
  return variants.back();
}

bool same(Point a, Point b) { return a.x == b.x && a.y == b.y; }

/// Moves the points about, less where they lie close; a corner (two equal points) stays one.
Stroke jitter(const Stroke& stroke, double amount, Random& random) {
  Stroke out = stroke;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i > 0 && same(stroke[i], stroke[i - 1])) {
      out[i] = out[i - 1];
      continue;
    }
    const Point& neighbour = stroke[i > 0 ? i - 1 : 1];
    const double gap = std::abs(stroke[i].x - neighbour.x) + std::abs(stroke[i].y - neighbour.y);
    const double reach = amount * std::min(1.0, gap / 0.7);
    out[i].x += reach * random.normal();
    out[i].y += reach * random.normal();
  }
  return out;
}

/// A pen starts late or early, and stops so.
void move_ends(Stroke& stroke, double amount, Random& random) {
  const auto pull = [&](Point& end, Point inner) {
    const double by = amount * random.normal();
    end.x += (end.x - inner.x) * by;
    end.y += (end.y - inner.y) * by;
  };
  pull(stroke.front(), stroke[1]);
  pull(stroke.back(), stroke[stroke.size() - 2]);
}

/// Catmull-Rom through the points, broken at corners.
std::vector<Point> trace(const Stroke& stroke) {
  constexpr int kSteps = 8;
  std::vector<Point> out{stroke.front()};
  const int n = static_cast<int>(stroke.size());
  for (int i = 0; i + 1 < n; ++i) {
    const Point b = stroke[i], c = stroke[i + 1];
    if (same(b, c)) continue;
    const Point a = i > 0 ? stroke[i - 1] : b;
    const Point d = i + 2 < n ? stroke[i + 2] : c;
    for (int step = 1; step <= kSteps; ++step) {
      const double t = static_cast<double>(step) / kSteps;
      const auto spline = [t](double p0, double p1, double p2, double p3) {
        return 0.5 *
               (2 * p1 + t * (p2 - p0 +
                              t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0))));
      };
      out.push_back({spline(a.x, b.x, c.x, d.x), spline(a.y, b.y, c.y, d.y)});
    }
  }
  return out;
}

/// A smooth random displacement of the page.
class Elastic {
 public:
  Elastic(double amount, Random& random) {
    for (Point& node : nodes_) node = {amount * random.normal(), amount * random.normal()};
  }
  Point operator()(Point p) const {
    // The grid covers [-0.25, 1.25] both ways.
    const double u = std::clamp((p.x + 0.25) / 1.5 * (kNodes - 1), 0.0, kNodes - 1.001);
    const double v = std::clamp((p.y + 0.25) / 1.5 * (kNodes - 1), 0.0, kNodes - 1.001);
    const int i = static_cast<int>(u), j = static_cast<int>(v);
    const double s = smoothstep(u - i), t = smoothstep(v - j);
    const auto at = [&](int di, int dj) { return nodes_[(j + dj) * kNodes + i + di]; };
    const auto mix = [&](auto get) {
      return (1 - t) * ((1 - s) * get(at(0, 0)) + s * get(at(1, 0))) +
             t * ((1 - s) * get(at(0, 1)) + s * get(at(1, 1)));
    };
    return {p.x + mix([](Point q) { return q.x; }), p.y + mix([](Point q) { return q.y; })};
  }

 private:
  static constexpr int kNodes = 4;
  std::array<Point, kNodes * kNodes> nodes_;
};

/// Slant, rotation and stretch, the same for the whole digit.
struct Affine {
  double xx, xy, yx, yy;

  static Affine random(double sloppiness, Random& random) {
    // A unit vector through tan of half the angle: no trigonometry.
    const double half = 0.5 * sloppiness * 0.14 * random.normal();
    const double cosine = (1 - half * half) / (1 + half * half),
                 sine = 2 * half / (1 + half * half);
    const double slant = sloppiness * (0.26 * random.normal() - 0.06);
    const double stretch = std::clamp(1.05 + 0.28 * sloppiness * random.normal(), 0.6, 1.9);
    return {cosine * stretch, cosine * slant - sine, sine * stretch, sine * slant + cosine};
  }
  Point operator()(Point p) const {
    const double x = p.x - 0.32, y = p.y - 0.5;
    return {xx * x + xy * y, yx * x + yy * y};
  }
};

/// Largest ink at a pixel: coverage of a round brush of varying radius along the path.
class Canvas {
 public:
  void draw(const Path& path, double softness) {
    for (size_t i = 0; i + 1 < path.size(); ++i) segment(path[i], path[i + 1], softness);
    if (path.size() == 1) segment(path[0], path[0], softness);
  }
  std::array<double, kSize * kSize> ink{};  // [0, 1]

 private:
  void segment(const Inked& a, const Inked& b, double softness) {
    const double reach = std::max(a.radius, b.radius) + softness;
    const int left = std::max(0, static_cast<int>(std::min(a.x, b.x) - reach));
    const int right = std::min(kSize - 1, static_cast<int>(std::max(a.x, b.x) + reach) + 1);
    const int top = std::max(0, static_cast<int>(std::min(a.y, b.y) - reach));
    const int bottom = std::min(kSize - 1, static_cast<int>(std::max(a.y, b.y) + reach) + 1);
    const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    for (int y = top; y <= bottom; ++y) {
      for (int x = left; x <= right; ++x) {
        const double px = x - a.x, py = y - a.y;
        const double t = length2 > 0 ? std::clamp((px * dx + py * dy) / length2, 0.0, 1.0) : 0;
        const double distance = std::sqrt(square(px - t * dx) + square(py - t * dy));
        const double radius = a.radius + t * (b.radius - a.radius);
        const double cover = std::clamp((radius - distance) / softness + 0.5, 0.0, 1.0);
        double& pixel = ink[y * kSize + x];
        pixel = std::max(pixel, cover);
      }
    }
  }
};

/// Fits the paths into the page the way the classic data sets do: the longer side to about 20
/// pixels, the middle of the ink to the middle of the page.
void place(std::vector<Path>& paths, double radius, double sloppiness, Random& random) {
  double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
  double sum_x = 0, sum_y = 0, sum = 0;
  for (const Path& path : paths) {
    for (const Inked& p : path) {
      left = std::min(left, p.x), right = std::max(right, p.x);
      top = std::min(top, p.y), bottom = std::max(bottom, p.y);
    }
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const Inked &a = path[i], &b = path[i + 1];
      const double length = std::sqrt(square(b.x - a.x) + square(b.y - a.y));
      sum_x += length * (a.x + b.x) / 2, sum_y += length * (a.y + b.y) / 2, sum += length;
    }
  }
  const double box = 19.6 + sloppiness * 0.9 * random.normal();
  const double scale = (box - 2 * radius) / std::max({right - left, bottom - top, 1e-3});
  // Mostly centred by weight, sometimes by the box.
  const bool by_box = random.chance(0.15);
  const double from_x = by_box || sum == 0 ? (left + right) / 2 : sum_x / sum;
  const double from_y = by_box || sum == 0 ? (top + bottom) / 2 : sum_y / sum;
  const double shift = random.chance(0.15) ? 1.4 : 0.5;
  const double to_x = 13.5 + sloppiness * shift * random.normal();
  const double to_y = 13.5 + sloppiness * shift * random.normal();
  for (Path& path : paths) {
    for (Inked& p : path)
      p = {(p.x - from_x) * scale + to_x, (p.y - from_y) * scale + to_y, p.radius};
  }
}

/// Pressure: the width drifts along each stroke.
void press(Path& path, double radius, double variation, Random& random) {
  constexpr int kNodes = 4;
  std::array<double, kNodes + 1> pressure;
  for (double& p : pressure) p = std::clamp(1 + variation * random.normal(), 0.45, 1.7);
  for (size_t i = 0; i < path.size(); ++i) {
    const double u = static_cast<double>(i) / static_cast<double>(path.size()) * kNodes;
    const int node = static_cast<int>(u);
    const double t = smoothstep(u - node);
    path[i].radius = radius * ((1 - t) * pressure[node] + t * pressure[node + 1]);
  }
}

/// 3 x 3 binomial blur, mixed with the sharp image.
void blur(std::array<double, kSize * kSize>& ink, double amount) {
  const auto pass = [&](int step_across, int step_along) {
    std::array<double, kSize> line;
    for (int j = 0; j < kSize; ++j) {
      for (int i = 0; i < kSize; ++i) {
        const auto at = [&](int k) {
          return k < 0 || k >= kSize ? 0.0 : ink[j * step_across + k * step_along];
        };
        line[i] =
            (1 - amount) * at(i) + amount * (0.25 * at(i - 1) + 0.5 * at(i) + 0.25 * at(i + 1));
      }
      for (int i = 0; i < kSize; ++i) ink[j * step_across + i * step_along] = line[i];
    }
  };
  pass(kSize, 1);
  pass(1, kSize);
}

/// What pen, paper and scanner add: blur, fading, grain, specks.
void weather(Canvas& canvas, double noise, Random& random) {
  auto& ink = canvas.ink;
  if (random.chance(0.5)) blur(ink, random.uniform(0.1, 0.8));
  const double gain = 1 + 0.25 * random.uniform();
  const double full = random.chance(0.15 * noise) ? random.uniform(0.5, 1.0) : 1.0;
  // Ink that runs dry: brightness varies over the page.
  std::array<double, 16> dry;
  const double dryness = random.chance(0.15) ? 0.5 * noise : 0.0;
  for (double& d : dry) d = 1 - dryness * random.uniform();
  const double grain = random.chance(0.25) ? noise * random.uniform(0.01, 0.07) : 0;
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      double& pixel = ink[y * kSize + x];
      pixel = std::min(1.0, pixel * gain) * full * dry[y / 7 * 4 + x / 7];
      if (grain > 0) pixel += grain * random.normal();
    }
  }
  if (random.chance(0.06 * noise)) {
    for (int n = 1 + random.below(3); n > 0; --n) {
      const double x = random.uniform(1, kSize - 2), y = random.uniform(1, kSize - 2);
      canvas.draw({{x, y, random.uniform(0.2, 0.7)}}, 0.8);
    }
  }
}

}  // namespace

Image draw(int digit, uint64_t seed, const Options& options) {
  Random random(seed ^ (0x6f637461766f0000u + static_cast<uint64_t>(digit)));
  const double sloppiness = options.sloppiness;
  // Most hands are steady, some are not.
  const double unrest = sloppiness * random.uniform(0.5, 1.5);
  const Glyph& glyph = pick_variant(digit, random);
  const Elastic elastic(0.048 * unrest, random);
  const Affine affine = Affine::random(sloppiness, random);

  // Thin pens are common, felt tips less so; in pixels.
  const double thickness = random.uniform();
  // A 1 has room for more.
  const double radius = 0.65 + (digit == 1 ? 1.7 : 1.3) * thickness * (0.4 + 0.6 * thickness);
  const double variation = 0.16 * unrest;
  std::vector<Path> paths;
  for (const Stroke& stroke : glyph.strokes) {
    Stroke bent = jitter(stroke, 0.034 * unrest, random);
    move_ends(bent, 0.18 * unrest, random);
    Path& path = paths.emplace_back();
    for (const Point p : trace(bent)) {
      const Point q = affine(elastic(p));
      path.push_back({q.x, q.y, 0});
    }
    press(path, radius, variation, random);
  }
  place(paths, radius, sloppiness, random);

  Canvas canvas;
  const double softness = random.uniform(0.9, 1.5);
  for (const Path& path : paths) canvas.draw(path, softness);
  weather(canvas, options.noise, random);

  Image image;
  for (size_t i = 0; i < image.size(); ++i) {
    image[i] = static_cast<uint8_t>(std::clamp(canvas.ink[i], 0.0, 1.0) * 255 + 0.5);
  }
  return image;
}

Sample sample(uint64_t seed, uint64_t index, const Options& options) {
  Random random(Random(seed).next() + index * 0xd1342543de82ef95u);
  const int digit = random.below(10);
  return {draw(digit, random.next(), options), static_cast<uint8_t>(digit)};
}

}  // namespace octavo::digits
