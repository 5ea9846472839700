// Runs the built command.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "native/model_file.h"
#include "native/npy.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

using Json = nlohmann::json;

struct Ran {
  int exit_code = -1;
  std::string out, err;
  Json json() const { return Json::parse(out, nullptr, false); }
};

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Cli : public testing::Test {
 protected:
  /// A classifier of 4 features into 3 classes: scores are the first three features.
  void SetUp() override {
    Graph graph;
    graph.symbols = {"N"};
    const ValueId x = graph.add_value({.name = "x", .dtype = DType::kF32, .shape = {-2, 4}});
    const ValueId w = graph.add_value(
        {.name = "w",
         .dtype = DType::kF32,
         .shape = {4, 3},
         .constant = Tensor::of<float>({4, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0})});
    const ValueId y =
        graph.add_value({.name = "scores/y:0", .dtype = DType::kF32, .shape = {-2, 3}});
    graph.inputs = {x};
    graph.outputs = {y};
    graph.nodes.push_back(
        {.kind = OpKind::kMatMul, .inputs = {x, w}, .outputs = {y}, .name = "fc"});
    const auto saved =
        save_model(Model(std::make_shared<const Graph>(std::move(graph))), dir_.path("m.octavo"));
    ASSERT_TRUE(saved) << saved.error().to_string();
    ASSERT_TRUE(
        write_npy(dir_.path("data.npy"),
                  Tensor::of<float>({4, 4}, {9, 1, 2, 0, 1, 9, 2, 0, 1, 2, 9, 0, 9, 1, 2, 0})));
    ASSERT_TRUE(write_npy(dir_.path("data_labels.npy"), Tensor::of<int64_t>({4}, {0, 1, 2, 2})));
  }

  /// Paths of the test's folder stand as @name.
  Ran run(std::string arguments) const {
    for (size_t at = arguments.find('@'); at != std::string::npos; at = arguments.find('@')) {
      arguments.replace(at, 1, dir_.path());
    }
    const std::string command =
        concat(octavo_program(), " ", arguments, " >", dir_.path(".out"), " 2>", dir_.path(".err"));
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text(dir_.path(".out")),
            read_text(dir_.path(".err"))};
  }

  void expect_failure(const std::string& arguments, int exit_code,
                      const std::string& message) const {
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.exit_code, exit_code) << arguments << "\n" << ran.err;
    EXPECT_NE(ran.err.find("octavo: error: "), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find(message), std::string::npos) << arguments << "\n" << ran.err;
    // One line, after which nothing comes.
    const size_t line = ran.err.rfind("octavo: error: ");
    EXPECT_EQ(ran.err.find('\n', line), ran.err.size() - 1) << ran.err;
    EXPECT_EQ(ran.out, "") << arguments;
    EXPECT_FALSE(std::filesystem::exists(dir_.path("out.octavo"))) << arguments;
  }

  TempDir dir_;
};

// libgomp says what it read from the environment: what is set there stays.
TEST_F(Cli, ThreadsSpinLessThanByDefault) {
  const auto spins = [&](const char* environment) {
    const std::string command =
        concat("env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose ", environment,
               " ", octavo_program(), " --version >/dev/null 2>", dir_.path(".err"));
    EXPECT_EQ(std::system(command.c_str()), 0);
    const std::string text = read_text(dir_.path(".err"));
    const size_t at = text.rfind("GOMP_SPINCOUNT = '");
    return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + 18);
  };
  EXPECT_EQ(spins(""), 20'000);
  EXPECT_EQ(spins("GOMP_SPINCOUNT=7"), 7);
  EXPECT_EQ(spins("OMP_WAIT_POLICY=passive"), 0);
}

TEST_F(Cli, KeepsPackedWeightsAndSaysWhereItCannot) {
  const std::string command = "bench @m.octavo --shape 2x4 --runs 1 --json --weight-cache @";
  const Ran kept = run(command + "weights");
  EXPECT_EQ(kept.exit_code, 0) << kept.err;
  EXPECT_EQ(kept.err.find("warning"), std::string::npos) << kept.err;
  EXPECT_TRUE(std::filesystem::exists(dir_.path("weights")));
  for (const std::string place : {"missing/weights", "m.octavo"}) {
    const std::string before = read_text(dir_.path("m.octavo"));
    const Ran ran = run(command + place);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_NE(ran.err.find("warning: "), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find(place), std::string::npos) << ran.err;
    EXPECT_EQ(read_text(dir_.path("m.octavo")), before);
  }
}

TEST_F(Cli, EvalCountsRightAnswers) {
  const Ran ran = run("eval @m.octavo --data @data.npy --threads 1 --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.json()["metric"], "top1");
  EXPECT_EQ(ran.json()["value"], 0.75);
  EXPECT_EQ(ran.json()["samples"], 4);
  const Ran top5 = run("eval @m.octavo --data @data.npy --metric top5 --json");
  EXPECT_EQ(top5.json()["value"], 1.0);
}

TEST_F(Cli, RunWritesOutputsUnderSafeNames) {
  const Ran ran = run("run @m.octavo --input x=@data.npy --output-dir @outputs --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const std::string file = ran.json()["outputs"][0]["file"];
  EXPECT_EQ(std::filesystem::path(file).filename(), "scores_y_0.npy");
  const auto tensor = read_npy(file);
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_EQ(tensor->shape(), (Shape{4, 3}));
  EXPECT_EQ(tensor->data<float>()[0], 9);
}

TEST_F(Cli, QuantizeWritesAModelThatEvaluatesAndCompares) {
  const Ran ran = run(
      "quantize @m.octavo --data @data.npy -o @out.octavo --weight-granularity per_channel --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.json()["samples"], 4);
  EXPECT_EQ(ran.json()["config"]["static_quant"]["global"]["weight_granularity"], "per_channel");
  EXPECT_EQ(ran.json()["check"]["agreement"], 1.0);
  EXPECT_EQ(run("eval @out.octavo --data @data.npy --json").json()["value"], 0.75);
  const Ran compared = run("compare @m.octavo @out.octavo --data @data.npy --json");
  ASSERT_EQ(compared.exit_code, 0) << compared.err;
  EXPECT_EQ(compared.json()["agreement"], 1.0);
  EXPECT_GT(compared.json()["outputs"][0]["sqnr_db"], 30);
  EXPECT_EQ(run("inspect @out.octavo --json").json()["quantized_nodes"], 1);
}

TEST_F(Cli, HalfPrecisionNeedsNoData) {
  const Ran ran = run("quantize @m.octavo --dtype bf16 -o @half.onnx --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.json()["nodes"][0]["weights"], "bf16");
  EXPECT_EQ(run("eval @half.onnx --data @data.npy --json").json()["value"], 0.75);
  const Ran without = run("quantize @m.octavo -o @out.onnx");
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_NE(without.err.find("--data"), std::string::npos) << without.err;
}

TEST_F(Cli, ReportIsAPageOrJson) {
  ASSERT_EQ(run("quantize @m.octavo --data @data.npy -o @out.octavo --no-check").exit_code, 0);
  const std::string models = "report @m.octavo @out.octavo --data @data.npy -o @";
  ASSERT_EQ(run(models + "r.html").exit_code, 0);
  EXPECT_NE(read_text(dir_.path("r.html")).find("<svg"), std::string::npos);
  ASSERT_EQ(run(models + "r.json").exit_code, 0);
  const Json json = Json::parse(read_text(dir_.path("r.json")), nullptr, false);
  EXPECT_EQ(json["ops"][0]["node"], "fc");
  EXPECT_GT(json["ops"][0]["own_sqnr_db"], 30);
  EXPECT_GT(json["error_sources"]["weights_sqnr_db"], json["error_sources"]["both_sqnr_db"]);
  EXPECT_EQ(run(models + "r.txt").exit_code, 2);
}

TEST_F(Cli, ReportWantsTheFloatModelFirst) {
  ASSERT_EQ(run("quantize @m.octavo --data @data.npy -o @q.octavo").exit_code, 0);
  expect_failure("report @q.octavo @m.octavo --data @data.npy", 1, "the first model is quantized");
}

TEST_F(Cli, ExplainSaysWhyForEveryNode) {
  const std::string quantize = "quantize @m.octavo --data @data.npy -o @out.octavo --explain ";
  EXPECT_NE(run(quantize).out.find("integer arithmetic on integer weights"), std::string::npos);
  EXPECT_NE(run(quantize + "--act-dtype fp32").out.find("act_dtype is fp32"), std::string::npos);
}

TEST_F(Cli, SchemaNamesEveryOption) {
  const Json schema = run("schema").json();
  ASSERT_TRUE(schema.is_object());
  EXPECT_NE(schema.dump().find("weight_granularity"), std::string::npos);
  const Json tuning = run("schema tuning").json();
  ASSERT_TRUE(tuning.is_object());
  EXPECT_EQ(tuning["properties"]["max_trials"]["default"], 100);
  EXPECT_TRUE(tuning["properties"].contains("config_set"));
}

TEST_F(Cli, VerifyMakesTheFileAgain) {
  ASSERT_EQ(run("quantize @m.octavo --data @data.npy -o @out.octavo --no-check --threads 1 "
                "--calib-cache @cache")
                .exit_code,
            0);
  EXPECT_FALSE(std::filesystem::is_empty(dir_.path("cache")));
  const std::string verify = "verify @out.octavo --model @m.octavo --data @";
  const Ran same = run(verify + "data.npy --threads 2 --json");
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(same.json()["same"], true);
  EXPECT_EQ(same.json()["samples"], 4);
  ASSERT_TRUE(
      write_npy(dir_.path("other.npy"),
                Tensor::of<float>({4, 4}, {9, 1, 2, 0, 1, 9, 2, 0, 1, 2, 9, 0, 9, 1, 2, 1})));
  const Ran other = run(verify + "other.npy");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.out.find("other data"), std::string::npos) << other.out;
}

TEST_F(Cli, LocalConfigurationLeavesNodesFloat) {
  const Ran ran = run(
      "quantize @m.octavo --data @data.npy -o @out.octavo --set-local fc=act_dtype:fp32 --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.json()["nodes"][0]["quantized"], false);
  EXPECT_NE(ran.json()["nodes"][0]["reason"], "");
}

TEST_F(Cli, BenchReportsLatency) {
  const Ran ran = run("bench @m.octavo --threads 1 --runs 5 --shape 7x4 --per-op --json");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["backend"], "default");
  EXPECT_EQ(json["threads"], 1);
  EXPECT_EQ(json["batch"], 7);
  EXPECT_LE(json["min_ms"], json["median_ms"]);
  EXPECT_LE(json["median_ms"], json["p90_ms"]);
  EXPECT_GT(json["peak_rss_mb"], 0);
  ASSERT_FALSE(json["per_op"].empty());
  EXPECT_EQ(json["per_op"][0]["macs"], 7 * 4 * 3);
  const Ran streams = run("bench @m.octavo --hint throughput --threads 3 --runs 5 --json");
  ASSERT_EQ(streams.exit_code, 0) << streams.err;
  EXPECT_EQ(streams.json()["streams"], 3);
  EXPECT_EQ(streams.json()["runs"], 15);
  EXPECT_GT(streams.json()["requests_per_second"], 0);
  expect_failure("bench @m.octavo --hint throughput --per-op", 2, "--hint latency");
}

TEST_F(Cli, SaysWhatIsEmulated) {
  ASSERT_EQ(run("quantize @m.octavo --dtype fp16 -o @half.onnx").exit_code, 0);
  const std::string bench = "bench @half.onnx --runs 1 --backend ";
  const Ran emulated = run(bench + "portable --per-op");
  EXPECT_NE(emulated.err.find("emulates"), std::string::npos) << emulated.err;
  EXPECT_NE(emulated.out.find("in f32: "), std::string::npos) << emulated.out;
  EXPECT_EQ(run("bench @m.octavo --runs 1").err, "");
  ASSERT_EQ(::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1), 0);
  const Ran without = run("quantize @m.octavo --dtype fp16 -o @half.onnx --explain");
  const Ran slow = run(bench + "default");
  ASSERT_EQ(::unsetenv("ONEDNN_MAX_CPU_ISA"), 0);
  EXPECT_NE(without.out.find("emulates"), std::string::npos) << without.out;
  EXPECT_NE(without.out.find("values in half precision"), std::string::npos) << without.out;
  EXPECT_NE(slow.err.find("emulates"), std::string::npos) << slow.err;
}

TEST_F(Cli, WrongUsageIsExitCode2) {
  expect_failure("", 2, "--help");
  expect_failure("quantise @m.octavo", 2, "did you mean 'quantize'");
  expect_failure("eval @m.octavo", 2, "--data is required");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --weight-dtype int3", 2,
                 "int3");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --act-sym maybe", 2, "maybe");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.bin", 2, ".octavo");
  expect_failure("quantize @m.octavo --data @data.npy -o @m.octavo", 2, "is an input file");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --set-local fc", 2,
                 "NAME=FIELD:VALUE");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --set-local fc=act_dtpe:fp32",
                 2, "did you mean 'act_dtype'");
  expect_failure("bench @m.octavo --shape 1xx4", 2, "1xx4");
  expect_failure("verify @m.octavo --model @m.octavo --backend itex", 2, "--backend");
  expect_failure("eval @m.octavo --data @data.npy --limit -1", 2, "no whole number from 0 on");
  expect_failure("autotune @m.octavo --data @data.npy -o @m.octavo", 2, "is an input file");
  expect_failure("report @m.octavo @m.octavo --data @data.npy -o @r.pdf", 2, ".html or .json");
}

TEST_F(Cli, BadInputIsExitCode1AndLeavesNoOutput) {
  dir_.write("empty.onnx", "");
  dir_.write("noise.onnx", std::string("\x7F\x00\xFFnoise", 8));
  const auto model = read_file(dir_.path("m.octavo"));
  dir_.write("cut.octavo", std::span(*model).first(model->size() / 2));
  for (const char* bad : {"absent.onnx", "empty.onnx", "noise.onnx", "cut.octavo"}) {
    expect_failure(concat("quantize @", bad, " --data @data.npy -o @out.octavo"), 1, bad);
  }
  ASSERT_TRUE(
      write_npy(dir_.path("nan.npy"), Tensor::of<float>({2, 4}, {1, 1, 1, 1, 1, NAN, 1, 1})));
  expect_failure("quantize @m.octavo --data @nan.npy -o @out.octavo", 1, "nan.npy");
  ASSERT_TRUE(write_npy(dir_.path("wide.npy"), *Tensor::create(DType::kF32, {2, 5})));
  expect_failure("quantize @m.octavo --data @wide.npy -o @out.octavo", 1, "Nx4");
  expect_failure("quantize @m.octavo --data @absent -o @out.octavo", 1, "absent");
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --eval-data @absent", 1,
                 "absent");
  for (const char* output :
       {"quantize @m.octavo -o @absent/out.octavo", "autotune @m.octavo -o @absent/out.octavo",
        "report @m.octavo @m.octavo -o @absent/out.html"}) {
    expect_failure(concat(output, " --data @data.npy"), 1, "there is no folder");
  }
  expect_failure("quantize @m.octavo --data @data.npy -o @out.octavo --set-local f=act_dtype:fp32",
                 1, "'f'");
  expect_failure("eval @m.octavo --data @wide.npy", 1, "Nx4");
  expect_failure("run @m.octavo --input z=@data.npy --output-dir @o", 1, "no input 'z'");
  ASSERT_TRUE(write_npy(dir_.path("unlabelled.npy"), *Tensor::create(DType::kF32, {2, 4})));
  expect_failure("eval @m.octavo --data @unlabelled.npy", 1, "--labels");
  ASSERT_TRUE(write_npy(dir_.path("ints.npy"), *Tensor::create(DType::kI64, {2, 4})));
  expect_failure("run @m.octavo --input @ints.npy --output-dir @o", 1, "'x'");
}

TEST_F(Cli, WithJsonAnErrorIsOneObjectToo) {
  for (const char* arguments :
       {"eval @absent.onnx --data @data.npy --json", "eval --json", "evaal --json"}) {
    const Ran ran = run(arguments);
    EXPECT_NE(ran.exit_code, 0);
    ASSERT_TRUE(ran.json().is_object()) << ran.out;
    EXPECT_NE(ran.json()["error"]["message"], "");
  }
}

TEST_F(Cli, NoColoursWithoutATerminal) {
  const Ran ran = run("inspect @m.octavo --nodes");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out.find('\x1b'), std::string::npos);
  EXPECT_NE(ran.out.find("MatMul"), std::string::npos);
}

}  // namespace
}  // namespace octavo
