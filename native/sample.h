// Fits samples (an image, a slice of an array) to a model's input.
#pragma once

#include <string>
#include <vector>

#include "native/preprocess.h"
#include "runtime/graph.h"

namespace octavo {

/// One sample as its source has it, row-major. Images are u8 of height x width x channels.
struct Sample {
  DType dtype = DType::kUndefined;
  Shape shape;
  std::vector<uint8_t> bytes;
};

/// What is known of a source's samples beforehand.
struct SampleType {
  DType dtype = DType::kU8;
  Shape shape;            // of one sample; unused for images, each of which has its own
  bool is_image = false;  // decoded from an image file
};

class SampleConverter {
 public:
  /// Decides once how samples become elements of the graph's input `input`: as they are, with a
  /// batch axis in front, with axes of size 1 added or dropped, or as pictures (transposed between
  /// HWC and CHW, resized). Errors: kShapeMismatch stating expected and got, kInvalidArgument.
  static Result<SampleConverter> create(const Graph& graph, ValueId input, const SampleType& type,
                                        const PreprocessConfig& config);

  /// Samples in one feed: the model's batch if it is fixed, else 1.
  int64_t batch() const { return batch_; }
  /// Writes the sample's elements, preprocessed. `shape` receives their shape, without a batch
  /// axis. Errors: kShapeMismatch, kInvalidData (not finite, or outside the dtype's range).
  Result<Tensor> convert(Sample sample) const;
  /// The feed that consists of these samples, `batch()` of them.
  Result<Tensor> stack(std::span<const Tensor> samples) const;

 private:
  enum class Order : uint8_t { kFlat, kHwc, kChw };

  Result<Image> fit(Sample sample) const;
  Result<Tensor> write(const Sample& sample, const Shape& shape) const;
  std::unexpected<Error> mismatch(const Shape& got, const char* hint) const;

  std::string input_name_, expected_;  // for messages
  PreprocessConfig config_;
  DType dtype_ = DType::kUndefined;
  int64_t batch_ = 1;
  bool has_batch_axis_ = false;  // stack() adds it
  bool as_picture_ = false;      // convert() goes through fit()
  Order source_ = Order::kFlat, target_ = Order::kFlat;
  int64_t channels_ = 1;              // of the result, if it is not flat
  int64_t height_ = -1, width_ = -1;  // that the model wants; -1: any
  Shape shape_;                       // of a converted sample, if it is not a picture
};

}  // namespace octavo
