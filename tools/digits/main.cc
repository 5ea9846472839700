// octavo_digits: writes a series of handwritten digits as two .npy files.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "native/npy.h"
#include "tools/digits/digits.h"
#include <CLI/CLI.hpp>

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

  auto images =
      Tensor::create(DType::kU8, {static_cast<int64_t>(count), digits::kSize, digits::kSize});
  auto classes = Tensor::create(DType::kU8, {static_cast<int64_t>(count)});
  Status status;
  if (images && classes) {
    auto pixel = images->data<uint8_t>().begin();
    for (uint64_t i = 0; i < count; ++i) {
      const digits::Sample sample = digits::sample(seed, i, options);
      pixel = std::ranges::copy(sample.image, pixel).out;
      classes->data<uint8_t>()[i] = sample.label;
    }
    status = write_npy(out, *images);
    if (status && !labels.empty()) status = write_npy(labels, *classes);
  } else {
    status = fail(ErrorCode::kOutOfMemory, "no memory for ", count, " images; lower --count");
  }
  if (!status) {
    std::fprintf(stderr, "octavo_digits: %s\n", status.error().to_string().c_str());
    return 1;
  }
  return 0;
}
