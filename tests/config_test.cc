#include <gtest/gtest.h>

#include <algorithm>

#include "core/config/recipe.h"

namespace octavo {
namespace {

std::string error_of(std::string_view json) {
  const auto config = StaticQuantConfig::from_json(json);
  return config ? "" : config.error().message;
}

TEST(Config, DefaultsAreThoseOfTheManual) {
  const StaticQuantConfig config;
  EXPECT_TRUE(config.validate());
  EXPECT_EQ(config.weight_granularity, "per_channel");
  EXPECT_EQ(config.weight_dtype, "int8");
  EXPECT_TRUE(config.weight_sym);
  EXPECT_EQ(config.act_dtype, "uint8");
  EXPECT_FALSE(config.act_sym);
  EXPECT_EQ(config.act_algorithm, "mse");
}

TEST(Config, ReadsNestedAndBareJson) {
  const auto nested = StaticQuantConfig::from_json(R"({"static_quant": {
      "global": {"weight_granularity": "per_tensor", "white_list": ["Conv", "MatMul"]},
      "local": {"conv1": {"act_dtype": "fp32"}, "MatMul": {"weight_sym": false}}}})");
  ASSERT_TRUE(nested) << nested.error().message;
  EXPECT_EQ(nested->white_list, (std::vector<std::string>{"Conv", "MatMul"}));
  ASSERT_EQ(nested->local.size(), 2u);
  EXPECT_EQ(nested->local[0].config.act_dtype, "fp32");
  EXPECT_EQ(nested->local[0].config.weight_granularity, "per_tensor") << "inherits the global one";
  EXPECT_FALSE(nested->local[1].config.weight_sym);

  const auto bare = StaticQuantConfig::from_json(R"({"act_sym": false})");
  ASSERT_TRUE(bare);
  EXPECT_FALSE(bare->act_sym);
}

TEST(Config, RoundTripsThroughJson) {
  StaticQuantConfig config;
  config.weight_granularity = "per_tensor";
  StaticQuantConfig local = config;
  local.act_sym = true;
  config.set_local("a", config).set_local("b", config).set_local("a", local);
  const auto back = StaticQuantConfig::from_json(config.to_json());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE(back->resolve("a", "Conv").act_sym);
  EXPECT_FALSE(back->resolve("b", "Conv").act_sym);
  EXPECT_EQ(back->to_json(), config.to_json());
}

TEST(Config, ErrorsSayWhatToDo) {
  EXPECT_EQ(error_of(R"({"weight_dtyp": "int8"})"),
            "configuration: there is no option 'weight_dtyp'; did you mean 'weight_dtype'?");
  EXPECT_EQ(error_of(R"({"weight_sym": "yes"})"),
            "configuration: 'weight_sym' must be true or false, not string");
  EXPECT_NE(error_of(R"({"act_algorithm": "best"})").find("act_algorithm 'best' is not one of"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"act_dtype": "int7"})").find("'int8', 'uint8'"), std::string::npos);
  EXPECT_NE(error_of("{"), "");
  EXPECT_NE(error_of("[1]"), "");
  EXPECT_NE(error_of(R"({"static_quant": 3})"), "");
  EXPECT_NE(error_of(R"({"static_quant": {"local": {"a": 3}}})"), "");
  EXPECT_NE(error_of(R"({"white_list": [1]})"), "");
  EXPECT_NE(error_of(std::string(100000, '[')).find("nested"), std::string::npos);
}

TEST(Config, NamesWinOverGlobsWinOverTypes) {
  StaticQuantConfig config;
  const auto with = [](const char* dtype) {
    StaticQuantConfig c;
    c.act_dtype = dtype;
    return c;
  };
  config.set_local("layer1/conv", with("fp32"));
  config.set_local("layer1/*", with("int8"));
  config.set_local("Conv", with("bf16"));
  EXPECT_EQ(config.resolve("layer1/conv", "Conv").act_dtype, "fp32");
  EXPECT_EQ(config.resolve("layer1/conv2", "Conv").act_dtype, "int8");
  EXPECT_EQ(config.resolve("layer10/conv", "Conv").act_dtype, "bf16");
  EXPECT_EQ(config.resolve("layer10/mul", "Mul").act_dtype, "uint8");
  config.set_local("layer1/c*", with("int16"));
  EXPECT_EQ(config.resolve("layer1/conv2", "Conv").act_dtype, "int16") << "the later glob wins";
}

TEST(Config, GlobsMatchTheWholeName) {
  EXPECT_TRUE(glob_match("conv?", "conv1"));
  EXPECT_FALSE(glob_match("conv1", "conv10"));
  EXPECT_TRUE(glob_match("*/a*b", "x/y/aaab"));
  EXPECT_FALSE(glob_match("*/a*b", "x/y/aaabc"));
  EXPECT_TRUE(glob_match("*", ""));
}

TEST(Recipe, FromAConfigOrAList) {
  EXPECT_EQ(Recipe().stages.size(), 1u) << "static quantization";
  const Recipe one = StaticQuantConfig();
  const Recipe two = std::vector<QuantConfig>{StaticQuantConfig(), StaticQuantConfig()};
  EXPECT_EQ(one.stages.size(), 1u);
  EXPECT_EQ(two.stages.size(), 2u);
  EXPECT_FALSE(Recipe(std::vector<QuantConfig>()).validate());
}

TEST(Recipe, ReadsEveryForm) {
  for (const char* json : {
           R"({"act_sym": false})",
           R"({"static_quant": {"act_sym": false}})",
           R"({"global": {"act_sym": false}})",
           R"([{"static_quant": {"global": {"act_sym": false}}}])",
       }) {
    const auto recipe = Recipe::from_json(json);
    ASSERT_TRUE(recipe) << json << ": " << recipe.error().message;
    ASSERT_EQ(recipe->stages.size(), 1u) << json;
    EXPECT_FALSE(std::get<StaticQuantConfig>(recipe->stages[0]).act_sym) << json;
    EXPECT_EQ(Recipe::from_json(recipe->to_json())->to_json(), recipe->to_json());
  }
  const auto list = Recipe::from_json(R"([{"static_quant": {}}, {"static_quant": {}}])");
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(list->stages.size(), 2u);
  EXPECT_EQ(Recipe::from_json(list->to_json())->stages.size(), 2u);
}

TEST(Recipe, ErrorsSayWhatToDo) {
  const auto error_of_recipe = [](std::string_view json) {
    const auto recipe = Recipe::from_json(json);
    return recipe ? "" : recipe.error().message;
  };
  EXPECT_EQ(error_of_recipe(R"([{"static_qant": {}}])"),
            "recipe: there is no stage 'static_qant'; did you mean 'static_quant'?");
  EXPECT_NE(error_of_recipe(R"({"static_qant": {}})").find("did you mean"), std::string::npos);
  EXPECT_NE(error_of_recipe("[]").find("no stages"), std::string::npos);
  EXPECT_NE(error_of_recipe("[3]"), "");
  EXPECT_NE(error_of_recipe("3"), "");
  EXPECT_NE(error_of_recipe(R"([{"static_quant": {"act_sim": true}}])").find("'act_sym'"),
            std::string::npos);
}

TEST(Recipe, OptionsAreSetFromTheTextThatTheyPrint) {
  for (QuantConfig& config : all_configs()) {
    QuantConfig copy = config;
    const ConfigView view = config_view(config), other = config_view(copy);
    for (const OptionDef& option : view.fields) {
      ASSERT_TRUE(set_option(option, *other.config, option_text(option, *view.config)))
          << option.name;
    }
    EXPECT_EQ(write_config(other), write_config(view)) << view.name;
    EXPECT_TRUE(validate_config(view)) << view.name << ": defaults are valid";
  }
  StaticQuantConfig config;
  const OptionDef* weight_sym = find_option(StaticQuantConfig::fields(), "weight_sym");
  EXPECT_FALSE(set_option(*weight_sym, config, "maybe"));
}

TEST(Recipe, SchemaHasEveryOption) {
  const std::string schema = recipe_schema();
  for (QuantConfig& config : all_configs()) {
    for (const OptionDef& option : config_view(config).fields) {
      EXPECT_NE(schema.find(concat('"', option.name, '"')), std::string::npos) << option.name;
    }
  }
}

}  // namespace
}  // namespace octavo
