#include "native/dataset.h"

#include <gtest/gtest.h>

#include <cmath>

#include "native/npy.h"
#include "tests/image_files.h"
#include "tests/paths.h"
#include "tests/shared_data.h"
#include "tests/temp_dir.h"

namespace octavo {
namespace {

/// A graph that only has inputs. A dimension of -2 is the symbol N.
Graph graph_with_inputs(std::initializer_list<std::pair<const char*, Shape>> inputs,
                        DType dtype = DType::kF32) {
  Graph graph;
  graph.symbols = {"N"};
  for (const auto& [name, shape] : inputs) {
    graph.inputs.push_back(graph.add_value({.name = name, .dtype = dtype, .shape = shape}));
  }
  return graph;
}

Result<std::unique_ptr<Dataset>> open(const std::string& path, const Graph& graph,
                                      const std::string& preprocess = "none",
                                      const std::string& labels = "") {
  return Dataset::open(path, graph,
                       {.preprocess = *parse_preprocess(preprocess), .labels = labels});
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  const auto data = tensor.data<T>();
  return {data.begin(), data.end()};
}

/// The next feed; empty at the end and after an error, which fails the test.
NamedTensors next_feed(Dataset& data) {
  auto feed = data.next();
  if (!feed) {
    ADD_FAILURE() << feed.error().message;
    return {};
  }
  return feed->value_or(NamedTensors{});
}

Tensor counting_u8(const Shape& shape) {
  Tensor tensor = *Tensor::create(DType::kU8, shape);
  for (size_t i = 0; i < tensor.data<uint8_t>().size(); ++i)
    tensor.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  return tensor;
}

std::string solid_png(int size, uint8_t r, uint8_t g, uint8_t b) {
  Image image{size, size, 3, {}};
  for (int i = 0; i < size * size; ++i) image.pixels.insert(image.pixels.end(), {r, g, b});
  return png_file(image);
}

void expect_error(const Result<std::unique_ptr<Dataset>>& dataset,
                  std::initializer_list<const char*> parts) {
  ASSERT_FALSE(dataset);
  for (const char* part : parts) {
    EXPECT_NE(dataset.error().message.find(part), std::string::npos) << dataset.error().message;
  }
}

TEST(Dataset, ImagesOfAFolderWithLabelsCsv) {
  const TempDir dir;
  dir.write("red.png", solid_png(4, 255, 0, 0));
  dir.write("blue.png", solid_png(4, 0, 0, 255));
  dir.write("labels.csv", "file,label\nred.png,7\nblue.png,3\n");
  const Graph graph = graph_with_inputs({{"x", {1, 3, 2, 2}}});
  auto data = open(dir.path(), graph, "caffe");
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->size(), 2);
  EXPECT_EQ((*data)->label(0), 7);
  EXPECT_EQ((*data)->label(1), 3);
  const NamedTensors feed = next_feed(**data);
  ASSERT_EQ(feed.size(), 1U);
  const Tensor& x = feed[0].second;
  EXPECT_EQ(x.shape(), (Shape{1, 3, 2, 2}));
  // BGR: red comes last.
  EXPECT_FLOAT_EQ(x.data<float>()[0], -103.939F);
  EXPECT_FLOAT_EQ(x.data<float>()[4], -116.779F);
  EXPECT_FLOAT_EQ(x.data<float>()[8], 255 - 123.68F);
  EXPECT_FALSE(next_feed(**data).empty());
  EXPECT_TRUE(next_feed(**data).empty());
  ASSERT_TRUE((*data)->rewind());
  EXPECT_EQ(values<float>(next_feed(**data)[0].second), values<float>(x));
}

TEST(Dataset, FoldersPerClassAreLabels) {
  const TempDir dir;
  dir.write("cat/1.png", solid_png(2, 1, 1, 1));
  dir.write("dog/1.png", solid_png(2, 2, 2, 2));
  dir.write("dog/2.png", solid_png(2, 3, 3, 3));
  const Graph graph = graph_with_inputs({{"x", {-2, 2, 2, 3}}});
  const auto data = open(dir.path(), graph);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->size(), 3);
  EXPECT_EQ((*data)->label(0), 0);
  EXPECT_EQ((*data)->label(2), 1);
  // The model's input is channels-last here.
  EXPECT_EQ(next_feed(**data)[0].second.shape(), (Shape{1, 2, 2, 3}));
}

TEST(Dataset, InterleavedArraysAreTransposedForTheModel) {
  const TempDir dir;
  ASSERT_TRUE(write_npy(dir.path("x.npy"), counting_u8({2, 2, 2, 3})));
  ASSERT_TRUE(write_npy(dir.path("x_labels.npy"), Tensor::of<int64_t>({2}, {4, 5})));
  const Graph graph = graph_with_inputs({{"x", {-2, 3, 2, 2}}});
  auto data = open(dir.path("x.npy"), graph);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->label(1), 5);
  EXPECT_EQ(values<float>(next_feed(**data)[0].second),
            (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  auto scaled = open(dir.path("x.npy"), graph, R"({"scale": 0.5, "mean": [0, 1, 2]})");
  EXPECT_EQ(values<float>(next_feed(**scaled)[0].second),
            (std::vector<float>{0, 1.5, 3, 4.5, -0.5, 1, 2.5, 4, -1, 0.5, 2, 3.5}));
}

TEST(Dataset, AxesOfSizeOneAreAddedForIdx) {
  const TempDir dir;
  const std::string idx("\0\0\x08\3\0\0\0\2\0\0\0\2\0\0\0\2\1\2\3\4\5\6\7\x08", 24);
  dir.write("t-images-idx3-ubyte", idx);
  dir.write("t-labels-idx1-ubyte", std::string("\0\0\x08\1\0\0\0\2\x09\x08", 10));
  const Graph graph = graph_with_inputs({{"x", {1, 1, 2, 2}}});
  for (const std::string& path : {dir.path("t-images-idx3-ubyte"), dir.path()}) {
    auto data = open(path, graph);
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ((*data)->label(0), 9);
    const NamedTensors feed = next_feed(**data);
    EXPECT_EQ(feed[0].second.shape(), (Shape{1, 1, 2, 2}));
    EXPECT_EQ(values<float>(feed[0].second), (std::vector<float>{1, 2, 3, 4}));
  }
}

TEST(Dataset, FixedBatchesAreFilledUp) {
  const TempDir dir;
  ASSERT_TRUE(write_npy(dir.path("x.npy"), Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6})));
  const Graph graph = graph_with_inputs({{"x", {2, 2}}});
  auto data = open(dir.path("x.npy"), graph);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(values<float>(next_feed(**data)[0].second), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ((*data)->last_count(), 2);
  EXPECT_EQ(values<float>(next_feed(**data)[0].second), (std::vector<float>{5, 6, 5, 6}));
  EXPECT_EQ((*data)->last_count(), 1);
}

TEST(Dataset, NpzFeedsEveryInputByName) {
  const TempDir dir;
  // Stored entries only need the zip's structure; numpy's own layout is in npy_test.
  const Graph graph = graph_with_inputs({{"x", {-2, 2}}, {"state", {2, -2, 1}}});
  auto data = open(source_path("tests/data/two_inputs.npz"), graph);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->size(), 3);
  const NamedTensors feed = next_feed(**data);
  ASSERT_EQ(feed.size(), 2U);
  EXPECT_EQ(feed[0].second.shape(), (Shape{1, 2}));
  EXPECT_EQ(feed[1].first, "state");
  EXPECT_EQ(feed[1].second.shape(), (Shape{2, 1, 1}));
  EXPECT_EQ((*data)->label(2), 2);
  const Graph other = graph_with_inputs({{"x", {-2, 2}}, {"states", {2, -2, 1}}});
  expect_error(open(source_path("tests/data/two_inputs.npz"), other), {"'states'", "'state'"});
}

TEST(Dataset, ErrorsSayWhatWasExpected) {
  const TempDir dir;
  const Graph graph = graph_with_inputs({{"x", {-2, 3, 2, 2}}});
  ASSERT_TRUE(write_npy(dir.path("wrong.npy"), counting_u8({1, 5, 5, 3})));
  expect_error(open(dir.path("wrong.npy"), graph), {"'x'", "Nx3x2x2", "5x5x3", "--preprocess"});
  ASSERT_TRUE(write_npy(dir.path("flat.npy"), counting_u8({1, 7})));
  expect_error(open(dir.path("flat.npy"), graph), {"Nx3x2x2", "7"});
  expect_error(open(dir.path("absent"), graph), {"absent"});
  expect_error(open(dir.path(), graph), {"no .jpg"});
  dir.write("x.bin", "hello");
  expect_error(open(dir.path("x.bin"), graph), {"x.bin", ".npz"});
  ASSERT_TRUE(write_npy(dir.path("ok.npy"), counting_u8({2, 3, 2, 2})));
  dir.write("labels.csv", "1\n2\n3\n");
  expect_error(open(dir.path("ok.npy"), graph, "none", dir.path("labels.csv")),
               {"2 samples", "3 labels"});
  const Graph two = graph_with_inputs({{"x", {1, 3, 2, 2}}, {"y", {1}}});
  expect_error(open(dir.path("ok.npy"), two), {"2 inputs", "'y'", ".npz"});
  const Graph bytes = graph_with_inputs({{"x", {-2, 3, 2, 2}}}, DType::kU8);
  expect_error(open(dir.path("ok.npy"), bytes, "torch"), {"'x'", "u8", "none"});
}

TEST(Dataset, NotFiniteDataNamesFileAndSample) {
  const TempDir dir;
  ASSERT_TRUE(write_npy(dir.path("x.npy"), Tensor::of<float>({3, 2}, {1, 2, 3, NAN, 5, 6})));
  const Graph graph = graph_with_inputs({{"x", {-2, 2}}});
  auto data = open(dir.path("x.npy"), graph);
  ASSERT_TRUE(data);
  ASSERT_TRUE((*data)->next());
  const auto bad = (*data)->next();
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidData);
  EXPECT_NE(bad.error().message.find("sample 1"), std::string::npos) << bad.error().message;
  EXPECT_NE(bad.error().message.find("x.npy"), std::string::npos);
}

TEST(Dataset, UnreadableImageNamesTheFile) {
  const TempDir dir;
  const std::string png = solid_png(40, 1, 2, 3);
  dir.write("cut.png", png.substr(0, png.size() - 30));
  const Graph graph = graph_with_inputs({{"x", {1, 3, 2, 2}}});
  auto data = open(dir.path(), graph, "torch");
  ASSERT_TRUE(data);
  const auto bad = (*data)->next();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("cut.png"), std::string::npos) << bad.error().message;
}

TEST(Dataset, ReadsImageNetFolder) {
  OCTAVO_SHARED_PATH(path, "data/imagenet/test");
  const Graph graph = graph_with_inputs({{"input", {1, 3, 224, 224}}});
  auto data = open(path, graph, "torch");
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->size(), 200);
  EXPECT_EQ((*data)->label(0), 1);
  for (int i = 0; i < 5; ++i) {
    const NamedTensors feed = next_feed(**data);
    ASSERT_FALSE(feed.empty());
    for (const float x : feed[0].second.data<float>()) {
      ASSERT_GE(x, -2.2F);
      ASSERT_LE(x, 2.7F);
    }
  }
}

}  // namespace
}  // namespace octavo
