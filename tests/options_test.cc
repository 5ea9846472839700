// Every option of every stage does something, and docs/options.md has a row for it that names a
// test.
#include <regex>
#include <set>

#include "core/tuning/tuning_config.h"
#include "native/files.h"
#include "tests/paths.h"
#include "tests/quantized_model.h"

namespace octavo {
namespace {

const Attribute kRelu{"activation", std::string("Relu")};

// Channels of very different sizes, depthwise and dense convolutions, a Concat of different ranges,
// functions, an Add, matrix products; the last operator has no integer form.
Graph vision_network() {
  GraphBuilder b;
  Tensor uneven = GraphBuilder::random_tensor("w1", {8, 4, 3, 3}, 0.2f);
  Tensor depthwise = GraphBuilder::random_tensor("w2", {8, 1, 3, 3}, 0.3f);
  for (size_t c = 0; c < 8; ++c) {
    const float factor = std::exp2(-static_cast<float>(c % 4));
    for (size_t i = 0; i < 36; ++i) uneven.data<float>()[c * 36 + i] *= factor;
    for (size_t i = 0; i < 9; ++i) depthwise.data<float>()[c * 9 + i] /= factor;
  }
  const std::vector<int64_t> pads{1, 1, 1, 1};
  const ValueId x = b.input("x", {1, 4, 12, 12});
  const ValueId c1 = b.node(OpKind::kConv, {x, b.constant("w1", uneven), b.random("b1", {8}, 0.1f)},
                            "conv1", {{"pads", pads}, kRelu});
  const ValueId c2 = b.node(OpKind::kConv, {c1, b.constant("w2", depthwise)}, "conv2",
                            {{"pads", pads}, {"group", int64_t{8}}});
  const ValueId s = b.node(OpKind::kSigmoid, {c2}, "sigmoid");
  const ValueId joined = b.node(OpKind::kConcat, {c2, s}, "joined", {{"axis", int64_t{1}}});
  const ValueId c3 = b.node(OpKind::kConv, {joined, b.random("w3", {8, 16, 1, 1}, 0.2f)}, "conv3");
  const ValueId c4 = b.node(OpKind::kConv, {x, b.random("w6", {8, 4, 1, 1}, 0.5f)}, "conv4");
  const ValueId sum = b.node(OpKind::kAdd, {c3, c4}, "sum");
  const ValueId f = b.node(OpKind::kFlatten, {sum}, "flat");
  const ValueId h =
      b.node(OpKind::kGemm, {f, b.random("w4", {64, 1152}, 0.05f), b.random("b4", {64}, 0.1f)},
             "fc1", {{"transB", int64_t{1}}});
  const ValueId y = b.node(OpKind::kMatMul, {h, b.random("w5", {64, 10}, 0.1f)}, "fc2");
  return b.output(b.node(OpKind::kCos, {y}, "cos")).build();
}

// Two layers that read one tensor of uneven channels, and one behind them.
Graph shared_inputs() {
  GraphBuilder b;
  Tensor mix = GraphBuilder::random_tensor("mix", {16, 64}, 0.3f);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t c = 0; c < 64; c += 9) mix.data<float>()[i * 64 + c] *= 8;
  }
  const ValueId x = b.input("x", {32, 16});
  const ValueId h = b.node(OpKind::kMatMul, {x, b.constant("mix", mix)}, "h");
  const ValueId p = b.node(OpKind::kMatMul, {h, b.random("wp", {64, 48}, 0.4f)}, "p");
  Tensor steep = GraphBuilder::random_tensor("wq", {64, 48}, 0.7f);
  for (size_t i = 0; i < steep.data<float>().size(); ++i) {
    steep.data<float>()[i] *= std::exp2(-0.25f * static_cast<float>(i / 48 % 16));
  }
  const ValueId q = b.node(OpKind::kMatMul, {h, b.constant("wq", steep)}, "q");
  const ValueId s = b.node(OpKind::kSoftmax, {b.node(OpKind::kMul, {p, q}, "m")}, "s");
  return b.output(b.node(OpKind::kMatMul, {s, b.random("wy", {48, 8}, 0.1f)}, "y")).build();
}

// A layer whose outputs are far above zero, behind a Relu that does nothing to them.
Graph high_biases() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 8, 8});
  const ValueId c =
      b.node(OpKind::kConv,
             {x, b.random("w1", {8, 4, 1, 1}, 0.1f), b.floats("b1", {8}, {9, 8, 7, 6, 5, 4, 3, 2})},
             "conv1", {kRelu});
  return b
      .output(
          b.node(OpKind::kConv, {c, b.random("w2", {4, 8, 1, 1}), b.random("b2", {4})}, "conv2"))
      .build();
}

// Weights most of which are small beside a few.
Graph heavy_tails() {
  GraphBuilder b;
  Tensor weights = GraphBuilder::random_tensor("w", {128, 16});
  for (float& w : weights.data<float>()) w = w * w * w + 0.3f;
  const ValueId x = b.input("x", {4, 128});
  return b.output(b.node(OpKind::kMatMul, {x, b.constant("w", weights)}, "y")).build();
}

// Samples of different ranges, some with outliers.
class Samples : public RandomLoader {
 public:
  explicit Samples(const Graph& graph) : RandomLoader(graph, 12) {
    change = [this](NamedTensors& feeds) {
      for (auto& [name, tensor] : feeds) {
        for (float& v : tensor.data<float>()) v *= 1 + 0.05f * static_cast<float>(served() % 5);
        if (served() % 3 == 1) tensor.data<float>()[7] = 30;
      }
    };
  }
};

// What a stage makes of the network: the ONNX file without what says how it was made; or an error.
std::string outcome(const Graph& graph, const std::string& stage, const std::string& options) {
  const auto recipe = Recipe::from_json(concat("{\"", stage, "\": {", options, "}}"));
  EXPECT_TRUE(recipe) << recipe.error().to_string();
  if (!recipe) return "";
  Samples data(graph);
  const auto result = quantize_model(Model(std::make_shared<const Graph>(graph)), *recipe, &data);
  if (!result) return result.error().to_string();
  Graph made = result->model.graph();
  made.metadata.clear();
  const auto bytes = Model(std::make_shared<const Graph>(made)).to_onnx({.keep_names = true});
  EXPECT_TRUE(bytes) << bytes.error().to_string();
  return bytes ? std::string(bytes->begin(), bytes->end()) : "";
}

struct OptionCase {
  const char* stage;
  const char* option;
  std::vector<const char*> values;  // JSON, each other than what `base` or the default has
  const char* base = "";            // options beside it
  Graph (*network)() = vision_network;
};

const std::vector<OptionCase>& option_cases() {
  static const std::vector<OptionCase> kCases = {
      {"static_quant",
       "scheme",
       {R"("tensorflow")", R"("mxnet")", R"("pytorch")", R"("ipex")", R"("onnxruntime")",
        R"("tflite")"},
       R"("act_sym": false, "narrow_range": false, "act_reduce_range": true, "reduce_range": true)"},
      {"static_quant",
       "weight_dtype",
       {R"("uint8")", R"("int16")", R"("uint16")", R"("int4")", R"("uint4")", R"("bf16")",
        R"("fp32")"}},
      {"static_quant", "weight_sym", {"false"}},
      {"static_quant", "weight_granularity", {R"("per_tensor")"}},
      {"static_quant",
       "weight_algorithm",
       {R"("mse")", R"("kl")", R"("percentile")"},
       R"("percentile": 99)"},
      {"static_quant", "narrow_range", {"false"}},
      {"static_quant", "reduce_range", {"true"}},
      {"static_quant",
       "act_dtype",
       {R"("int8")", R"("int16")", R"("uint16")", R"("int4")", R"("uint4")", R"("bf16")",
        R"("fp32")"}},
      {"static_quant", "act_sym", {"true"}},
      {"static_quant",
       "act_algorithm",
       {R"("minmax")", R"("kl")", R"("percentile")", R"("moving_average")", R"("mean_minmax")",
        R"("median_minmax")", R"("mean_no_outliers")", R"("mean_quantile")"},
       R"("percentile": 99)"},
      {"static_quant", "act_reduce_range", {"true"}},
      {"static_quant", "percentile", {"99"}, R"("act_algorithm": "percentile")"},
      {"static_quant", "averaging_constant", {"0.5"}, R"("act_algorithm": "moving_average")"},
      {"static_quant", "quantile_outlier_prob", {"0.05"}, R"("act_algorithm": "mean_quantile")"},
      {"static_quant", "num_quantized_bins", {"64"}, R"("act_algorithm": "kl")"},
      {"static_quant", "io_dtype", {R"("uint8")"}},
      {"static_quant", "io_dtype", {R"("int8")"}, R"("act_dtype": "int8")"},
      {"static_quant", "io_dtype", {R"("int16")"}, R"("act_dtype": "int16")"},
      {"static_quant", "io_dtype", {R"("uint16")"}, R"("act_dtype": "uint16")"},
      {"static_quant", "integer_only", {"true"}},
      {"static_quant", "first_conv_or_matmul_quantization", {"false"}},
      {"static_quant", "last_conv_or_matmul_quantization", {"false"}},
      {"static_quant", "max_concat_ratio", {"1"}},
      {"static_quant", "overflow_fix", {"true"}},
      {"static_quant", "equalization", {R"("none")", R"("cross_layer")"}},
      {"static_quant", "equalization", {R"("channels")"}, R"("weight_granularity": "per_tensor")"},
      {"static_quant",
       "bias_absorption",
       {"false"},
       R"("weight_granularity": "per_tensor")",
       high_biases},
      {"static_quant",
       "absorption_deviations",
       {"100"},
       R"("weight_granularity": "per_tensor")",
       high_biases},
      {"static_quant", "bias_correction", {"false"}},
      {"static_quant", "rounding", {R"("adaround")"}, "", shared_inputs},
      {"static_quant", "white_list", {R"(["Gemm"])", R"(["conv1..sum"])"}},

      {"dynamic_quant", "weight_dtype", {R"("uint8")", R"("fp32")"}},
      {"dynamic_quant", "weight_sym", {"false"}},
      {"dynamic_quant", "weight_granularity", {R"("per_channel")"}},
      {"dynamic_quant", "white_list", {R"(["Gemm"])"}},

      {"smooth_quant", "alpha", {"0.8", R"("auto")"}, "", shared_inputs},
      {"smooth_quant", "folding", {"false"}, "", shared_inputs},
      {"smooth_quant", "alpha_min", {"0.6"}, R"("alpha": "auto")", shared_inputs},
      {"smooth_quant", "alpha_max", {"0.4"}, R"("alpha": "auto")", shared_inputs},
      {"smooth_quant", "alpha_step", {"0.37"}, R"("alpha": "auto")", shared_inputs},
      {"smooth_quant",
       "shared_criterion",
       {R"("min")", R"("max")"},
       R"("alpha": "auto", "alpha_min": 0, "alpha_max": 1, "alpha_step": 0.01)",
       shared_inputs},
      {"smooth_quant", "white_list", {R"(["y"])"}, "", shared_inputs},

      {"mixed_precision", "dtype", {R"("fp16")", R"("fp32")"}},
      {"mixed_precision", "allow_list", {R"(["Cos"])"}},
      {"mixed_precision", "infer_list", {R"(["Cos"])"}},
      {"mixed_precision", "deny_list", {R"(["Conv"])"}},
      {"mixed_precision", "white_list", {R"(["Gemm"])"}},
  };
  return kCases;
}

// What rtn, gptq, awq, hqq and adaround have in common, then their own; and learned rounding.
std::vector<OptionCase> weight_only_cases() {
  std::vector<OptionCase> cases;
  for (const char* stage : {"rtn", "gptq", "awq", "hqq", "adaround"}) {
    const bool symmetric = std::string_view(stage) != "hqq";
    cases.insert(cases.end(),
                 {{stage, "weight_bits", {"1", "2", "3", "8"}, "", shared_inputs},
                  {stage, "weight_group_size", {"16", "-1"}, "", shared_inputs},
                  {stage, "weight_sym", {symmetric ? "false" : "true"}, "", shared_inputs},
                  {stage, "quant_last_matmul", {"false"}, "", shared_inputs},
                  {stage, "quant_format", {R"("matmulnbits")"}, "", shared_inputs},
                  {stage, "white_list", {R"(["p"])"}, "", shared_inputs}});
  }
  for (const char* stage : {"static_quant", "adaround"}) {
    const bool is_option = std::string_view(stage) == "static_quant";
    const char* base = is_option ? R"("rounding": "adaround")" : "";
    for (const auto& [option, value] :
         {std::pair{"rounding_iters", "20"}, std::pair{"rounding_lr", "0.2"},
          std::pair{"rounding_reg", "100"}, std::pair{"rounding_beta_start", "3"},
          std::pair{"rounding_beta_end", "10"}, std::pair{"rounding_warm_up", "0.9"}}) {
      cases.push_back({stage, option, {value}, base, shared_inputs});
    }
  }
  cases.insert(cases.end(), {{"rtn", "mse", {"true"}, "", shared_inputs},
                             {"adaround", "mse", {"true"}, "", shared_inputs},
                             {"gptq", "mse", {"true"}, "", shared_inputs},
                             {"gptq", "percdamp", {"0.5"}, "", shared_inputs},
                             {"gptq", "actorder", {"true"}, "", shared_inputs},
                             {"awq", "enable_auto_scale", {"false"}, "", shared_inputs},
                             {"awq", "enable_mse_search", {"false"}, "", shared_inputs},
                             {"hqq", "lp_norm", {"0.4"}, "", heavy_tails},
                             {"hqq", "beta", {"0.01"}, "", heavy_tails},
                             {"hqq", "kappa", {"2"}, "", heavy_tails},
                             {"hqq", "iters", {"1"}, "", heavy_tails}});
  return cases;
}

std::vector<OptionCase> all_cases() {
  std::vector<OptionCase> cases = option_cases();
  for (const OptionCase& c : weight_only_cases()) cases.push_back(c);
  return cases;
}

TEST(Options, EachChangesTheResult) {
  for (const OptionCase& c : all_cases()) {
    const Graph graph = c.network();
    const std::string before = outcome(graph, c.stage, c.base);
    for (const char* value : c.values) {
      const std::string options =
          concat(c.base, *c.base == '\0' ? "" : ", ", '"', c.option, "\": ", value);
      EXPECT_TRUE(outcome(graph, c.stage, options) != before)
          << c.stage << " {" << options << "} does nothing";
    }
  }
}

// Of a choice among texts every text.
TEST(Options, EachIsTried) {
  for (QuantConfig& config : all_configs()) {
    const ConfigView view = config_view(config);
    for (const OptionDef& option : view.fields) {
      const std::string where = concat(view.name, ".", option.name);
      if (option.choices.size() == 1) continue;
      std::set<std::string> tried;
      bool any = false;
      for (const OptionCase& c : all_cases()) {
        if (view.name != std::string_view(c.stage) || option.name != std::string_view(c.option)) {
          continue;
        }
        any = true;
        tried.insert(c.values.begin(), c.values.end());
      }
      EXPECT_TRUE(any) << where << " has no case here";
      tried.insert(concat('"', option_text(option, *view.config), '"'));
      for (const char* choice : option.choices) {
        EXPECT_TRUE(tried.contains(concat('"', choice, '"'))) << where << " " << choice;
      }
    }
  }
}

// Rows: | `stage.option` | peers' names | `Suite.Test` ... |
TEST(Options, EachIsInTheTableOfPeers) {
  const auto file = map_file(source_path("docs/options.md"));
  ASSERT_TRUE(file) << file.error().to_string();
  const std::string text(reinterpret_cast<const char*>(file->bytes.data()), file->bytes.size());
  std::map<std::string, std::set<std::string>> rows;  // option -> tests
  const std::regex row(R"(\n\| `([a-z_]+\.[a-z_]+)` +\|[^|\n]*\|([^|\n]*)\|)");
  const std::regex test(R"(`([A-Za-z]+\.[A-Za-z0-9]+)`)");
  for (std::sregex_iterator at(text.begin(), text.end(), row), end; at != end; ++at) {
    const std::string tests = (*at)[2];
    std::set<std::string>& named = rows[(*at)[1]];
    for (std::sregex_iterator t(tests.begin(), tests.end(), test); t != end; ++t) {
      named.insert((*t)[1]);
    }
  }
  std::set<std::string> options;
  const auto add = [&](const char* stage, std::span<const OptionDef> fields) {
    for (const OptionDef& option : fields) options.insert(concat(stage, ".", option.name));
  };
  for (QuantConfig& config : all_configs()) {
    const ConfigView view = config_view(config);
    add(view.name, view.fields);
  }
  add("tuning", TuningConfig::fields());
  for (const std::string& option : options) {
    EXPECT_TRUE(rows.contains(option)) << option << " has no row in docs/options.md";
  }
  std::set<std::string> known;
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      known.insert(concat(suite.name(), ".", suite.GetTestInfo(t)->name()));
    }
  }
  for (const auto& [option, tests] : rows) {
    EXPECT_TRUE(options.contains(option)) << option << " is in docs/options.md only";
    EXPECT_FALSE(tests.empty()) << option << " names no test";
    for (const std::string& name : tests) {
      EXPECT_TRUE(known.contains(name)) << option << " names a test that is none: " << name;
    }
  }
}

}  // namespace
}  // namespace octavo
