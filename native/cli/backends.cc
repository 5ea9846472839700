// octavo backends: what can run models here, on which devices, in which arithmetic.
#include <algorithm>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/onednn/onednn.h"
#include "native/thread_pool.h"
#include "runtime/kernels/gemm.h"

namespace octavo::cli {
namespace {

struct Line {
  const char* backend;
  std::string what;
};

std::vector<Line> backend_lines() {
  const std::string library = onednn_description();
  return {{"default", concat(library, " primitives where they are faster, else portable")},
          {"itex", concat(library, " Graph, then portable")},
          {"portable", "built-in kernels"}};
}

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

Result<int> backends(bool as_json) {
  const auto gpu = open_device("gpu");
  const std::string gpu_text = gpu ? "available" : gpu.error().message;
  Json json = {{"cores", available_cores()}, {"gpu", gpu_text}, {"backends", Json::array()}};
  Table table({"backend", "f32", "bf16", "f16", "what"});
  for (const Line& line : backend_lines()) {
    std::vector<std::string> row = {line.backend};
    Json entry = {{"name", line.backend}, {"description", line.what}};
    for (const DType dtype : kTypes) {
      row.emplace_back(arithmetic(line.backend, dtype));
      entry[std::string(dtype_name(dtype))] = row.back();
    }
    row.push_back(line.what);
    json["backends"].push_back(std::move(entry));
    table.add(row);
  }
  if (as_json) {
    print_json(json);
    return 0;
  }
  table.print();
  std::printf(
      "\ncores: %d\ngpu: %s\nemulated: stored in 16 bits, computed in float32, results "
      "rounded\n",
      available_cores(), gpu_text.c_str());
  return 0;
}

}  // namespace

// The portable kernels compute in float32 what they store in half precision, but for convolutions.
std::string_view arithmetic(std::string_view backend, DType dtype) {
  if (backend != "portable" && onednn_arithmetic(dtype) != "emulated") {
    return onednn_arithmetic(dtype);
  }
  if (dtype == DType::kBF16 && kernels::has_gemm_bf16()) return "native (convolutions)";
  return dtype == DType::kF32 ? "native" : "emulated";
}

std::string emulation_warning(const Graph& graph, std::string_view backend) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const auto has_it = [&](const Value& value) { return value.dtype == dtype; };
    if (arithmetic(backend, dtype) != "emulated" || std::ranges::none_of(graph.values, has_it)) {
      continue;
    }
    return concat("the model computes in ", dtype_name(dtype), ", which backend ", backend,
                  " emulates in f32 on this machine: smaller, but not faster");
  }
  return "";
}

Verb add_backends(CLI::App& app) {
  CLI::App* verb =
      app.add_subcommand("backends", "Show backends, devices and the arithmetic that they have");
  const auto json = std::make_shared<bool>(false);
  add_json_flag(*verb, *json);
  return {verb, [json] { return backends(*json); }};
}

}  // namespace octavo::cli
