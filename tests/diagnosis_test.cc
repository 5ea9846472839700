// Where a quantized model loses accuracy, and the report of it.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/diagnosis/diagnose.h"
#include "core/report/report.h"
#include "tests/graph_builder.h"
#include "tests/random_loader.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

// conv1 -> conv2 -> conv3; conv2 has one weight that is far larger than the others, so that its
// integers are coarse.
Graph uneven_network() {
  GraphBuilder b;
  Tensor weights = GraphBuilder::random_tensor("w2", {4, 4, 1, 1});
  weights.data<float>()[5] = 60;
  Tensor first = GraphBuilder::random_tensor("w1", {4, 3, 1, 1});
  std::ranges::fill(first.data<float>().subspan(3, 3), 0.0f);  // what the large one multiplies
  const ValueId x = b.input("x", {1, 3, 8, 8});
  const ValueId c1 = b.node(OpKind::kConv, {x, b.constant("w1", first)}, "conv1");
  const ValueId c2 = b.node(OpKind::kConv, {c1, b.constant("w2", weights)}, "conv2");
  const ValueId c3 = b.node(OpKind::kConv, {c2, b.random("w3", {4, 4, 1, 1})}, "conv3");
  return b.output(c3).build();
}

class DiagnosisTest : public testing::Test {
 protected:
  void SetUp() override {
    RandomLoader data(float_.graph(), 8);
    StaticQuantConfig config;  // as coarse as the weights are
    config.weight_granularity = "per_tensor";
    config.act_algorithm = "minmax";
    config.equalization = "none";
    config.bias_correction = false;
    auto made = quantize_model(float_, config, &data);
    ASSERT_TRUE(made) << made.error().to_string();
    quantized_ = made->model;
  }
  Diagnosis diagnosed(int samples = 8) {
    RandomLoader data(float_.graph(), samples);
    auto made = diagnose(float_, quantized_, data);
    EXPECT_TRUE(made) << made.error().to_string();
    return made ? *std::move(made) : Diagnosis();
  }
  static const OpDiagnosis& op(const Diagnosis& d, const std::string& name) {
    static const OpDiagnosis kNone;
    const auto found = std::ranges::find(d.ops, name, &OpDiagnosis::node);
    EXPECT_NE(found, d.ops.end()) << name;
    return found == d.ops.end() ? kNone : *found;
  }

  Model float_{std::make_shared<const Graph>(uneven_network())};
  Model quantized_;
};

TEST_F(DiagnosisTest, TheOperatorWithCoarseWeightsIsFound) {
  const Diagnosis d = diagnosed();
  const OpDiagnosis first = op(d, "conv1"), second = op(d, "conv2"), third = op(d, "conv3");
  ASSERT_TRUE(first.own_sqnr_db && second.own_sqnr_db && third.own_sqnr_db);
  ASSERT_TRUE(second.weight_sqnr_db && first.weight_sqnr_db);
  EXPECT_LT(*second.own_sqnr_db, *first.own_sqnr_db - 3);
  EXPECT_LT(*second.own_sqnr_db, *third.own_sqnr_db - 3) << "its input is the float model's";
  EXPECT_LT(*third.sqnr_db, *third.own_sqnr_db - 1) << "the earlier errors have built up";
  EXPECT_LT(*second.weight_sqnr_db, *first.weight_sqnr_db);
  EXPECT_EQ(second.weights, "i8 per_tensor");
  EXPECT_EQ(second.activations, "u8");
}

TEST_F(DiagnosisTest, TensorsHaveThresholdsAndDistributions) {
  const Diagnosis d = diagnosed();
  ASSERT_FALSE(d.tensors.empty());
  for (const TensorDiagnosis& tensor : d.tensors) {
    EXPECT_TRUE(tensor.quantized) << tensor.tensor;
    EXPECT_LT(tensor.low, tensor.high);
    EXPECT_NEAR(tensor.mse, tensor.distribution.a.empty() ? 0 : tensor.mse, 0);
    EXPECT_GT(tensor.mse, 0);
    EXPECT_GT(tensor.kl, 0);
    EXPECT_EQ(std::accumulate(tensor.distribution.a.begin(), tensor.distribution.a.end(), 0),
              8 * 4 * 8 * 8)
        << "every value of every sample is counted";
    EXPECT_EQ(tensor.clipped, 0) << "min-max on the same data cuts nothing off";
  }
}

// Files without names inside: operators are known by their place.
TEST_F(DiagnosisTest, OperatorsAreKnownWithoutNames) {
  const auto report_of = [&](const Model& quantized) {
    auto reporter = Reporter::create(float_, quantized);
    EXPECT_TRUE(reporter) << reporter.error().to_string();
    RandomLoader data(float_.graph(), 4);
    while (const auto feeds = *data.next()) EXPECT_TRUE(reporter->observe(*feeds));
    Report report;
    EXPECT_TRUE(reporter->finish(report));
    return report;
  };
  RandomLoader data(float_.graph(), 8);
  const auto equalized = quantize_model(float_, StaticQuantConfig(), &data);
  ASSERT_TRUE(equalized) << equalized.error().to_string();
  for (const Model& model : {quantized_, equalized->model}) {
    const auto loaded = Model::load(*model.to_onnx());
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    ASSERT_FALSE(std::ranges::contains(loaded->graph().nodes, "conv2", &Node::name))
        << "the file holds no names";
    const Report named = report_of(model), unnamed = report_of(*loaded);
    EXPECT_EQ(unnamed.hint, named.hint);
    ASSERT_EQ(unnamed.diagnosis.ops.size(), named.diagnosis.ops.size());
    for (size_t i = 0; i < named.diagnosis.ops.size(); ++i) {
      const OpDiagnosis &a = named.diagnosis.ops[i], &b = unnamed.diagnosis.ops[i];
      EXPECT_EQ(b.node, a.node);
      EXPECT_EQ(b.tensor, a.tensor);
      EXPECT_EQ(b.own_sqnr_db, a.own_sqnr_db) << a.node;
      EXPECT_EQ(b.sqnr_db, a.sqnr_db) << a.node;
      EXPECT_EQ(b.weight_sqnr_db, a.weight_sqnr_db) << a.node;
    }
    ASSERT_EQ(unnamed.sensitivity.size(), named.sensitivity.size());
    for (size_t i = 0; i < named.sensitivity.size(); ++i) {
      EXPECT_EQ(unnamed.sensitivity[i].node, named.sensitivity[i].node);
      EXPECT_EQ(unnamed.sensitivity[i].sqnr_db, named.sensitivity[i].sqnr_db);
    }
  }
}

// Few operators that cost most of it.
TEST_F(DiagnosisTest, ReportsAdviseWhatToLeaveFloat) {
  const auto hint_of = [&](const StaticQuantConfig& config) {
    RandomLoader calibration(float_.graph(), 8);
    const auto made = quantize_model(float_, config, &calibration);
    EXPECT_TRUE(made) << made.error().to_string();
    auto reporter = Reporter::create(float_, made->model);
    RandomLoader data(float_.graph(), 4);
    while (const auto feeds = *data.next()) EXPECT_TRUE(reporter->observe(*feeds));
    Report report;
    EXPECT_TRUE(reporter->finish(report));
    return report.hint;
  };
  EXPECT_EQ(hint_of(StaticQuantConfig()), "") << "good enough";
  StaticQuantConfig config, coarse;
  coarse.weight_granularity = "per_tensor";
  coarse.weight_dtype = "int4";
  config.equalization = "none";
  config.set_local("conv2", coarse);
  const std::string hint = hint_of(config);
  EXPECT_NE(hint.find(" --set-local conv2=act_dtype:fp32"), std::string::npos) << hint;
  EXPECT_EQ(hint.find("conv1"), std::string::npos) << hint;
  coarse.act_dtype = "fp32";
  config.set_local("conv2", coarse);
  EXPECT_EQ(hint_of(config), "") << "it is float now";
}

// Where operators are not the float model's, the report says what to do.
TEST_F(DiagnosisTest, UnknownOperatorsAreExplained) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 8, 8});
  const ValueId c = b.node(OpKind::kConv, {x, b.random("v", {4, 3, 1, 1})}, "other");
  const Graph other = b.output(c).build();
  RandomLoader calibration(other, 4);
  const auto made = quantize_model(Model(std::make_shared<const Graph>(other)), StaticQuantConfig(),
                                   &calibration);
  ASSERT_TRUE(made) << made.error().to_string();
  auto reporter = Reporter::create(float_, made->model);
  ASSERT_TRUE(reporter);
  RandomLoader data(float_.graph(), 4);
  while (const auto feeds = *data.next()) EXPECT_TRUE(reporter->observe(*feeds));
  Report report;
  ASSERT_TRUE(reporter->finish(report));
  EXPECT_NE(report.hint.find("keep_names"), std::string::npos);
  EXPECT_NE(report_html(report).find("keep_names"), std::string::npos);
}

TEST_F(DiagnosisTest, ValuesBeyondTheThresholdsAreCounted) {
  RandomLoader data(float_.graph(), 4);
  data.change = [](NamedTensors& feeds) {
    for (float& x : feeds[0].second.data<float>()) x *= 3;
  };
  const auto d = diagnose(float_, quantized_, data);
  ASSERT_TRUE(d);
  EXPECT_GT(d->tensors[0].clipped, 0.05);
  EXPECT_LT(d->tensors[0].clipped, 0.9);
}

TEST_F(DiagnosisTest, WeightsAndActivationsAreToldApart) {
  RandomLoader data(float_.graph(), 8);
  const auto sources = error_sources(float_, quantized_, data);
  ASSERT_TRUE(sources) << sources.error().to_string();
  // conv2's coarse weights dominate.
  EXPECT_LT(sources->weights_sqnr_db, sources->activations_sqnr_db);
  EXPECT_LE(sources->both_sqnr_db, sources->weights_sqnr_db + 1);
  // Noise powers add up: 1/s = 1/w + 1/a.
  const auto power = [](double db) { return std::pow(10, -db / 10); };
  EXPECT_NEAR(
      10 * std::log10(power(sources->weights_sqnr_db) + power(sources->activations_sqnr_db)),
      -sources->both_sqnr_db, 1.5);
}

TEST_F(DiagnosisTest, OperatorsAreRankedByWhatTheyCostAlone) {
  SensitivityRanker ranker(float_, quantized_);
  RandomLoader data(float_.graph(), 6);
  while (const auto feeds = *data.next()) ASSERT_TRUE(ranker.observe(*feeds));
  int64_t last = 0;
  const std::vector<std::string> all = {"conv1", "conv2", "conv3"};
  const auto found = ranker.finish(all, [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 3);
    last = done;
    return true;
  });
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(last, 3);
  ASSERT_EQ(found->size(), 3u);
  const OpSensitivity& worst = found->front();
  EXPECT_EQ(worst.node, "conv2");
  EXPECT_LT(worst.sqnr_db, (*found)[1].sqnr_db - 3);
  EXPECT_LT(worst.weights_sqnr_db, worst.activations_sqnr_db) << "its weights are coarse";
  EXPECT_NEAR(worst.sqnr_db, diagnosed().outputs[0].sqnr_db, 1) << "it is what the model loses";
  EXPECT_EQ(ranker.finish(std::span(all).last(1))->size(), 1u);
  EXPECT_EQ(ranker.finish(all, [](int64_t, int64_t) { return false; }).error().code,
            ErrorCode::kCancelled);
}

// Channels scaled between the layers are scaled back for the float ones around.
TEST_F(DiagnosisTest, EqualizedOperatorsAreRankedToo) {
  RandomLoader data(float_.graph(), 8);
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  config.bias_absorption = false;
  const auto made = quantize_model(float_, config, &data);
  ASSERT_TRUE(made);
  SensitivityRanker ranker(float_, made->model);
  ASSERT_TRUE(ranker.observe(**RandomLoader(float_.graph(), 1).next()));
  const auto found = ranker.finish(std::vector<std::string>{"conv1", "conv2", "conv3"});
  ASSERT_TRUE(found) << found.error().to_string();
  ASSERT_EQ(found->size(), 3u);
  EXPECT_NE(made->model.graph().find_value("conv1_equalized"), kNoValue);
  for (const OpSensitivity& op : *found) EXPECT_GT(op.sqnr_db, 20) << op.node;
}

TEST_F(DiagnosisTest, TheReportStandsAlone) {
  Report report{.float_model = "a<b>.onnx", .quantized_model = "b.onnx", .data = "d"};
  report.diagnosis = diagnosed();
  report.sources = ErrorSources{30, 20, 19};
  report.sensitivity = {{"conv2", "Conv", 12, 13, 25}};
  const std::string html = report_html(report);
  EXPECT_EQ(html.find("http"), std::string::npos) << "nothing is fetched";
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("a<b>"), std::string::npos) << "names are escaped";
  EXPECT_NE(html.find("a&lt;b&gt;.onnx"), std::string::npos);
  for (const char* part :
       {"conv2", "class=\"cut\"", "activations only", "Distributions", "Sensitivity"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  const auto json = nlohmann::json::parse(report_json(report), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ops"].size(), report.diagnosis.ops.size());
  EXPECT_EQ(json["tensors"][0]["histogram"]["float"].size(), 128u);
  EXPECT_EQ(json["sensitivity"][0]["activations_sqnr_db"], 25);
  EXPECT_NEAR(json["error_sources"]["weights_sqnr_db"], 30.0, 0);
}

TEST(Distribution, DoesNotDependOnTheOrder) {
  const std::vector<float> small = {0.1f, -0.2f, 0.3f}, large = {1000.0f, -3.0f};
  PairHistogram forth, back;
  forth.add_a(small);
  forth.add_a(large);
  back.add_a(large);
  back.add_a(small);
  EXPECT_EQ(forth.distribution(64).a, back.distribution(64).a);
  EXPECT_EQ(forth.distribution(64).max, 1000);
}

TEST(Distribution, DivergenceOfEqualSetsIsZero) {
  PairHistogram same, different;
  std::vector<float> ramp;
  for (int i = 0; i < 1000; ++i) ramp.push_back(static_cast<float>(i));
  same.add_a(ramp);
  same.add_b(ramp);
  different.add_a(ramp);
  for (float& x : ramp) x = std::floor(x / 100) * 100;
  different.add_b(ramp);
  EXPECT_NEAR(kl_divergence(same.distribution(100)), 0, 1e-12);
  EXPECT_GT(kl_divergence(different.distribution(100)), 0.5);
}

}  // namespace
}  // namespace octavo
