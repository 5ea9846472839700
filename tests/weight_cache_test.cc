// Files of packed weights: a second session packs nothing, and no file of any content changes what
// a session computes.
#include <algorithm>
#include <thread>

#include "native/onednn/onednn.h"
#include "native/run_config.h"
#include "native/weight_cache_file.h"
#include "tests/quantized_model.h"
#include "tests/temp_dir.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

// Every operator that packs: dense, grouped and transposed convolutions, products, a GRU.
Model float_model(const std::string& seed = "") {
  GraphBuilder b;
  const auto random = [&](const char* name, const Shape& shape) {
    return b.constant(name, GraphBuilder::random_tensor(name + seed, shape, 0.2f));
  };
  const ValueId x = b.input("x", {1, 8, 9, 9});
  const ValueId dense = b.node(OpKind::kConv, {x, random("w1", {24, 8, 5, 5})}, "dense");
  const ValueId grouped = b.node(OpKind::kConv, {dense, random("w2", {24, 12, 1, 1})}, "grouped",
                                 {{"group", int64_t{2}}});
  const ValueId larger =
      b.node(OpKind::kConvTranspose, {grouped, random("w3", {24, 8, 2, 2})}, "larger");
  const ValueId flat = b.node(OpKind::kFlatten, {larger}, "flat");
  const ValueId product =
      b.node(OpKind::kGemm, {flat, random("w4", {48, 288})}, "product", {{"transB", int64_t{1}}});
  const ValueId steps = b.node(OpKind::kReshape, {product, b.ints("shape", {4, 1, 12})}, "steps");
  const ValueId gru =
      b.node(OpKind::kGRU, {steps, random("w5", {1, 30, 12}), random("w6", {1, 30, 10})}, "gru",
             {{"hidden_size", int64_t{10}}});
  const ValueId y = b.node(OpKind::kMatMul, {gru, random("w7", {10, 6})}, "y");
  return Model(std::make_shared<const Graph>(b.output(y).build()));
}

Model int8_model() { return quantized(float_model().graph()).model; }

std::vector<float> run(const Model& model, const std::shared_ptr<WeightCache>& cache = nullptr,
                       bool onednn = false) {
  SessionOptions options{.weight_cache = cache};
  if (onednn) options.backends.push_back(make_onednn_backend(/*claim_all=*/true));
  auto session = model.create_session(options);
  EXPECT_TRUE(session) << session.error().to_string();
  const Tensor x = GraphBuilder::random_tensor("input", {1, 8, 9, 9});
  const auto outputs = session->run({{model.graph().value(model.graph().inputs[0]).name, x}});
  EXPECT_TRUE(outputs) << outputs.error().to_string();
  const auto values = outputs->front().second.data<const float>();
  return {values.begin(), values.end()};
}

auto open(const std::string& path) { return std::make_shared<WeightCacheFile>(path); }

TEST(WeightCache, ASecondSessionPacksNothing) {
  const TempDir dir;
  const Model models[] = {float_model(), int8_model()};
  for (const Model& model : models) {
    for (const bool onednn : {false, true}) {
      const std::string path = dir.path(concat(&model - models, onednn ? "onednn" : "portable"));
      const std::vector<float> expected = run(model, nullptr, onednn);
      const auto first = open(path);
      EXPECT_EQ(run(model, first, onednn), expected);
      EXPECT_EQ(first->found(), 0);
      EXPECT_GT(first->made(), 3);
      EXPECT_EQ(first->problem(), "");
      const auto time = fs::last_write_time(path);
      const auto second = open(path);
      EXPECT_EQ(run(model, second, onednn), expected);
      EXPECT_EQ(second->found(), first->made());
      EXPECT_EQ(second->made(), 0);
      EXPECT_EQ(fs::last_write_time(path), time);
      // Sessions of one process share what the first of them packed.
      EXPECT_EQ(run(model, first, onednn), expected);
      EXPECT_EQ(first->found(), first->made());
    }
  }
}

TEST(WeightCache, DamagedFilesChangeNothingAndAreRepaired) {
  const TempDir dir;
  const Model model = float_model();
  const std::string path = dir.path("weights");
  const std::vector<float> expected = run(model, open(path));
  const std::vector<uint8_t> whole = *read_file(path);
  const auto expect_repaired = [&](const std::vector<uint8_t>& bytes, const std::string& what) {
    dir.write("weights", bytes);
    const auto cache = open(path);
    EXPECT_EQ(run(model, cache), expected) << what;
    EXPECT_GT(cache->made(), 0) << what;
    EXPECT_EQ(cache->problem(), "") << what;
    EXPECT_TRUE(*read_file(path) == whole) << what;
  };
  // The magic number, the records' number and hash, a key, an offset, a size, a hash.
  std::vector<size_t> places = {7, 8, 15, 20, 24, 33, 34, 40, 41, 48};
  // Within packings: between them are zeros, which are nobody's.
  for (size_t at = 1024; at < whole.size(); at += whole.size() / 10) {
    if (whole[at] != 0) places.push_back(at);
  }
  for (const size_t at : places) {
    std::vector<uint8_t> bytes = whole;
    bytes[at] ^= 0x10;
    expect_repaired(bytes, concat("byte ", at));
  }
  for (const size_t size : {size_t{0}, size_t{3}, size_t{8}, size_t{30}, whole.size() / 2}) {
    std::vector<uint8_t> bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    expect_repaired(bytes, concat("size ", size));
  }
}

TEST(WeightCache, OtherModelsWeightsAreNotTaken) {
  const TempDir dir;
  const std::string path = dir.path("weights");
  const Model model = float_model(), other = float_model("other");
  const std::vector<float> expected = run(other);
  EXPECT_NE(run(model, open(path)), expected);
  const auto cache = open(path);
  EXPECT_EQ(run(other, cache), expected);
  EXPECT_EQ(cache->found(), 0);
  const auto again = open(path);
  EXPECT_EQ(run(other, again), expected);
  EXPECT_EQ(again->made(), 0);
}

TEST(WeightCache, OtherFilesAreLeftAloneAndOtherPlacesSaid) {
  const TempDir dir;
  const Model model = float_model();
  const std::vector<float> expected = run(model);
  const std::string text = "a file that somebody needs";
  const auto foreign = open(dir.write("model.onnx", text));
  EXPECT_EQ(run(model, foreign), expected);
  EXPECT_NE(foreign->problem().find("left as it is"), std::string::npos);
  EXPECT_EQ(std::ranges::mismatch(*read_file(dir.path("model.onnx")), text).in2, text.end());
  const auto nowhere = open(dir.path("missing/weights"));
  EXPECT_EQ(run(model, nowhere), expected);
  EXPECT_NE(nowhere->problem().find("missing/weights"), std::string::npos);
}

TEST(WeightCache, SessionsMayWriteAtTheSameTime) {
  const TempDir dir;
  const std::string path = dir.path("weights");
  const Model models[] = {float_model(), float_model("other")};
  const std::vector<float> expected[] = {run(models[0]), run(models[1])};
  const auto shared = open(dir.path("shared"));
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(run(models[t % 2], open(path)), expected[t % 2]);
        EXPECT_EQ(run(models[t % 2], shared), expected[t % 2]);
      }
    });
  }
  threads.clear();
  // The last file is whole, and of one of the models.
  int64_t found = 0, made = 0;
  const std::vector<uint8_t> last = *read_file(path);
  for (size_t m = 0; m < 2; ++m) {
    const auto cache = open(dir.write("last", last));
    EXPECT_EQ(run(models[m], cache), expected[m]);
    found += cache->found();
    made += cache->made();
  }
  EXPECT_GT(found, 0);
  EXPECT_EQ(found, made);
}

TEST(WeightCache, IsARunOption) {
  const TempDir dir;
  const auto config = RunConfig::from_json(concat(R"({"weight_cache": ")", dir.path("w"), "\"}"));
  ASSERT_TRUE(config) << config.error().to_string();
  const auto options = make_session_options(*config);
  ASSERT_TRUE(options);
  auto session = float_model().create_session(*options);
  const Tensor x = GraphBuilder::random_tensor("input", {1, 8, 9, 9});
  EXPECT_TRUE(session->run({{"x", x}}));
  EXPECT_TRUE(fs::exists(dir.path("w")));
}

}  // namespace
}  // namespace octavo
