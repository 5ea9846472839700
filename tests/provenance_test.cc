// What a quantized model says of its origin, and files made again from it. Calibrations that are
// shared or stored give the same bytes as those done anew.
#include "core/provenance.h"

#include <map>

#include "core/content_hash.h"
#include "core/quantization/stage_cache.h"
#include "tests/kernel_check.h"
#include "tests/random_loader.h"

namespace octavo {
namespace {

// Convolutions, a depthwise one among them, with channels of uneven size.
Model network() {
  GraphBuilder b;
  const std::vector<int64_t> pads{1, 1, 1, 1};
  const ValueId x = b.input("x", {1, 3, 12, 12});
  Tensor uneven = GraphBuilder::random_tensor("w1", {8, 3, 3, 3}, 0.3f);
  for (size_t i = 0; i < uneven.data<float>().size(); ++i) {
    uneven.data<float>()[i] *= static_cast<float>(1 + i / 27);
  }
  const ValueId c1 = b.node(OpKind::kConv, {x, b.constant("w1", uneven), b.random("b1", {8})},
                            "conv1", {{"pads", pads}, {"activation", std::string("Relu")}});
  const ValueId c2 = b.node(OpKind::kConv, {c1, b.random("w2", {8, 1, 3, 3}), b.random("b2", {8})},
                            "depthwise", {{"pads", pads}, {"group", int64_t{8}}});
  const ValueId c3 = b.node(OpKind::kConv, {c2, b.random("w3", {5, 8, 1, 1})}, "conv3");
  const ValueId f = b.node(OpKind::kFlatten, {c3}, "flatten");
  return Model(std::make_shared<const Graph>(
      b.output(b.node(OpKind::kGemm, {f, b.random("w4", {6, 720}, 0.1f)}, "fc",
                      {{"transB", int64_t{1}}}))
          .build()));
}

Recipe recipe_with(const std::string& granularity, const std::string& algorithm = "minmax") {
  StaticQuantConfig config;
  config.weight_granularity = granularity;
  config.act_algorithm = algorithm;
  return config;
}

class MapStore : public CalibrationStore {
 public:
  std::optional<Bytes> load(const std::string& name) override {
    const auto found = kept.find(name);
    return found == kept.end() ? std::nullopt : std::optional(found->second);
  }
  Status save(const std::string& name, std::span<const uint8_t> bytes) override {
    kept[name] = Bytes(bytes.begin(), bytes.end());
    return {};
  }
  std::map<std::string, Bytes> kept;
};

class ProvenanceTest : public ::testing::Test {
 protected:
  Bytes made(const Recipe& recipe, const QuantizeOptions& options = {}, int samples = 6) {
    RandomLoader data(model_.graph(), samples);
    const auto result = quantize_model(model_, recipe, &data, 100, {}, options);
    EXPECT_TRUE(result) << result.error().to_string();
    passes_ = static_cast<int>(data.served_in_all()) / samples;
    return *result->model.to_compact();
  }
  std::string difference(const Bytes& file, DataLoader* data, const QuantizeOptions& options = {}) {
    const auto found = verify(file, model_, data, options);
    return found ? found->difference : found.error().to_string();
  }

  Model model_ = network();
  int passes_ = 0;  // over the data, in the last call of made()
};

TEST_F(ProvenanceTest, FilesAreMadeAgainWhateverTheThreads) {
  const auto pool = std::make_shared<testing::FakePool>();
  for (const char* granularity : {"per_tensor", "per_channel"}) {
    const Bytes file = made(recipe_with(granularity, "mse"));
    RandomLoader data(model_.graph(), 9);  // of which the first 6 were used
    EXPECT_EQ(difference(file, &data), "") << granularity;
    EXPECT_EQ(difference(file, &data, {.pool = pool}), "") << granularity;
  }
  const auto result = quantize_model(model_, RTNConfig(), nullptr);
  EXPECT_EQ(difference(*result->model.to_onnx({.keep_names = true}), nullptr), "")
      << "without data; an ONNX file";
}

TEST_F(ProvenanceTest, SaysWhatDiffers) {
  const Bytes file = made(recipe_with("per_channel"));
  RandomLoader few(model_.graph(), 5), other(model_.graph(), 6);
  EXPECT_NE(difference(file, &few).find("6 samples; here there are 5"), std::string::npos);
  other.change = [](NamedTensors& feeds) { feeds[0].second.data<float>()[7] += 1; };
  EXPECT_NE(difference(file, &other).find("other data"), std::string::npos);

  auto changed = *Model::load(file);
  Graph graph = changed.graph();
  for (Value& value : graph.values) {
    if (!value.constant.present() || value.dtype != DType::kI8) continue;
    value.constant = *value.constant.clone();
    value.constant.data<int8_t>()[0] ^= 1;
    break;
  }
  RandomLoader data(model_.graph(), 6);
  EXPECT_NE(difference(*Model(std::make_shared<const Graph>(graph)).to_compact(), &data)
                .find("the file was changed"),
            std::string::npos);

  Graph float_graph = model_.graph();
  Value& weights = float_graph.value(float_graph.find_value("w3"));
  weights.constant = *weights.constant.clone();
  weights.constant.data<float>()[0] += 1;
  model_ = Model(std::make_shared<const Graph>(float_graph));
  EXPECT_NE(difference(file, &data).find("another float model"), std::string::npos);
  EXPECT_NE(difference(*model_.to_compact(), &data).find("does not say where it comes from"),
            std::string::npos);
}

TEST_F(ProvenanceTest, HoldsEveryOptionOfTheRecipe) {
  const auto model = Model::load(made(recipe_with("per_tensor", "kl"), {.deterministic = true}));
  const auto source = read_provenance(model->graph());
  ASSERT_TRUE(source) << source.error().to_string();
  EXPECT_EQ(source->recipe.to_json(), recipe_with("per_tensor", "kl").to_json());
  const auto& metadata = model->graph().metadata;
  const auto property =
      std::ranges::find(metadata, "octavo", &std::pair<std::string, std::string>::first);
  EXPECT_NE(property->second.find("per_tensor"), std::string::npos);
  EXPECT_EQ(property->second.find("rounding_iters"), std::string::npos) << "a default";
  EXPECT_EQ(source->samples, 6);
  EXPECT_TRUE(source->deterministic);

  StaticQuantConfig local;
  local.act_dtype = "fp32";
  StaticQuantConfig config;
  config.act_algorithm = "mse";
  config.set_local("conv3", StaticQuantConfig(config)).set_local("depthwise", local);
  const Recipe recipe({SmoothQuantConfig(), config});
  const auto again = read_provenance(Model::load(made(recipe))->graph());
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->recipe.to_json(), recipe.to_json());

  for (const char* bad : {"", "{}", "[1", R"({"version": "1", "model": "0", "recipe": {"x": 1}})",
                          R"({"version": "1", "model": "0", "recipe": {}, "data": "0"})"}) {
    Graph graph = model->graph();
    graph.metadata = {{"octavo", bad}};
    EXPECT_FALSE(read_provenance(graph)) << bad;
  }
}

TEST_F(ProvenanceTest, StoredCalibrationsGiveTheSameBytes) {
  const auto store = std::make_shared<MapStore>();
  for (const char* granularity : {"per_channel", "per_tensor"}) {
    for (const char* algorithm : {"minmax", "mse", "mean_quantile"}) {
      const Recipe recipe = recipe_with(granularity, algorithm);
      const Bytes anew = made(recipe);
      EXPECT_EQ(made(recipe, {.calib_store = store}), anew) << granularity << algorithm;
      EXPECT_EQ(made(recipe, {.calib_store = store}), anew) << granularity << algorithm;
      EXPECT_EQ(passes_, 1) << "only to know the data";
    }
  }
  EXPECT_EQ(store->kept.size(), 2u) << "of the model, and of the one with equalized layers";
  made(recipe_with("per_channel"), {.calib_store = store}, 5);
  EXPECT_EQ(passes_, 2) << "other data";
  for (auto& [name, bytes] : store->kept) bytes[bytes.size() / 2] ^= 4;
  EXPECT_EQ(made(recipe_with("per_channel"), {.calib_store = store}),
            made(recipe_with("per_channel")))
      << "a damaged file counts for nothing";
}

TEST_F(ProvenanceTest, ACacheServesRecipesThatWantLess) {
  const auto cache = std::make_shared<StageCache>();
  StaticQuantConfig fallback;
  fallback.set_local("conv3", {.act_dtype = "fp32"});
  for (const Recipe& recipe :
       {recipe_with("per_channel"), Recipe(fallback), recipe_with("per_channel", "percentile"),
        recipe_with("per_tensor")}) {
    RandomLoader data(model_.graph(), 6);
    auto quantizer = Quantizer::create(model_, recipe, {}, cache);
    ASSERT_TRUE(quantizer);
    int64_t passes = 0;
    for (; quantizer->wants_data(); ++passes) {
      ASSERT_TRUE(data.rewind());
      while (auto feeds = *data.next()) ASSERT_TRUE(quantizer->observe(*feeds));
      ASSERT_TRUE(quantizer->end_pass());
    }
    EXPECT_EQ(passes, recipe.to_json() == recipe_with("per_channel").to_json()  ? 1
                      : recipe.to_json() == recipe_with("per_tensor").to_json() ? 1
                                                                                : 0)
        << recipe.to_json();
    EXPECT_EQ(*quantizer->finish()->model.to_compact(), made(recipe)) << recipe.to_json();
  }
}

TEST_F(ProvenanceTest, NoBytesOfAStoredCalibrationCrash) {
  const auto store = std::make_shared<MapStore>();
  made(recipe_with("per_channel"), {.calib_store = store});
  const Bytes good = store->kept.begin()->second;
  ASSERT_TRUE(Collected::from_bytes(model_.graph(), good));
  const auto body = std::span(good).first(good.size() - 8);
  for (size_t i = 0; i < body.size(); i += 1 + i / 16) {
    for (const uint8_t byte : {0x00, 0x7F, 0x80, 0xFF}) {
      Bytes bad(body.begin(), body.end());
      bad[i] = byte;
      ContentHash hash;  // the sum is right: the reader itself has to hold
      hash.add(std::as_bytes(std::span(bad)));
      for (int shift = 0; shift < 64; shift += 8) {
        bad.push_back(static_cast<uint8_t>(hash.value() >> shift));
      }
      (void)Collected::from_bytes(model_.graph(), bad);
      (void)Collected::from_bytes(model_.graph(), std::span(bad).first(i));
    }
  }
}

}  // namespace
}  // namespace octavo
