// octavo_digits: writes a series of handwritten digits as two .npy files.
#include <cstdio>
#include <string>
#include <vector>

#include "native/files.h"
#include "tools/digits/digits.h"
#include <CLI/CLI.hpp>

namespace {

/// A version 1.0 .npy file of uint8.
std::vector<uint8_t> npy(const std::string& shape, const std::vector<uint8_t>& data) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::vector<uint8_t> out = {0x93,
                              'N',
                              'U',
                              'M',
                              'P',
                              'Y',
                              1,
                              0,
                              static_cast<uint8_t>(header.size() & 255),
                              static_cast<uint8_t>(header.size() >> 8)};
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace octavo;
  CLI::App app("Draws handwritten digits: N x 28 x 28 uint8, ink 255 on 0, and their labels.");
  uint64_t count = 1000, seed = 1;
  std::string out, labels;
  digits::Options options;
  app.add_option("--count", count, "Number of images")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  app.add_option("--seed", seed, "Which series; the same seed gives the same images")
      ->capture_default_str();
  app.add_option("--out", out, "Images (.npy)")->required();
  app.add_option("--labels", labels, "Labels, uint8 (.npy)");
  app.add_option("--sloppiness", options.sloppiness, "Geometric distortion")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--noise", options.noise, "Pixel noise")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 2.0));
  CLI11_PARSE(app, argc, argv);

  std::vector<uint8_t> images, classes;
  images.reserve(count * digits::kSize * digits::kSize);
  for (uint64_t i = 0; i < count; ++i) {
    const digits::Sample sample = digits::sample(seed, i, options);
    images.insert(images.end(), sample.image.begin(), sample.image.end());
    classes.push_back(sample.label);
  }
  const std::string n = std::to_string(count);
  Status status = write_file(out, npy("(" + n + ", 28, 28)", images));
  if (status && !labels.empty()) status = write_file(labels, npy("(" + n + ",)", classes));
  if (!status) {
    std::fprintf(stderr, "octavo_digits: %s\n", status.error().to_string().c_str());
    return 1;
  }
  return 0;
}
