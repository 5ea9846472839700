// octavo bench: latency, memory, and time per operator.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/evaluate.h"
#include "native/model_file.h"
#include "native/onednn/onednn.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string model;
  RunConfig run;
  std::vector<std::string> shapes, inputs;
  int64_t runs = 50, warmup = 5;
  uint64_t seed = 1;
  bool json = false, per_op = false;
};

/// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)

 private:
  uint64_t state_;
};

/// Real numbers uniform in [-1, 1), bytes over their range; wider integers are 1, since they are
/// indices, lengths and rates.
void fill_random(Tensor& tensor, Random& random) {
  visit_dtype(
      tensor.dtype(),
      [&]<class T>() {
        for (T& element : tensor.data<T>()) {
          if (dtype_info(dtype_of<T>).is_float) {
            element = static_cast<T>(static_cast<ComputeType<T>>(random.uniform() * 2 - 1));
          } else {
            element = static_cast<T>(
                static_cast<ComputeType<T>>(sizeof(T) == 1 ? random.next() & 0x7F : 1));
          }
        }
      },
      [] {});
}

Shape parse_shape(const std::string& text) {
  Shape shape;
  int64_t dim = 0;
  bool any_digit = false, ok = !text.empty();
  for (const char c : text + "x") {
    if (c >= '0' && c <= '9' && dim < 1'000'000'000) {
      dim = dim * 10 + (c - '0');
      any_digit = true;
    } else if (c == 'x' && any_digit && shape.rank() < kMaxRank) {
      shape.push_back(dim);
      dim = 0;
      any_digit = false;
    } else {
      ok = ok && text == "scalar";
      break;
    }
  }
  if (!ok) throw CLI::ValidationError("--shape", concat("'", text, "' must be like 1x3x224x224"));
  return text == "scalar" ? Shape{} : shape;
}

/// Inputs from files, else random ones; open dimensions are 1.
Result<NamedTensors> make_inputs(const Graph& graph, const Options& options) {
  OCTAVO_ASSIGN(NamedTensors feeds, read_inputs(graph, options.inputs));
  const std::vector<std::string> names = input_names(graph);
  std::vector<std::pair<std::string, Shape>> shapes;
  for (const std::string& text : options.shapes) {
    OCTAVO_ASSIGN(const auto assignment, split_assignment("--shape", text, names));
    shapes.emplace_back(assignment.first, parse_shape(assignment.second));
  }
  Random random(options.seed);
  NamedTensors inputs;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    const auto is_this = [&](const auto& entry) { return entry.first == value.name; };
    if (const auto given = std::ranges::find_if(feeds, is_this); given != feeds.end()) {
      inputs.push_back(*given);
      continue;
    }
    Shape shape = value.shape;
    if (const auto given = std::ranges::find_if(shapes, is_this); given != shapes.end()) {
      shape = given->second;
    } else if (!shape.has_rank()) {
      return fail(ErrorCode::kInvalidArgument, "the shape of input '", value.name,
                  "' is open: pass --shape ", value.name, "=1x3x224x224 (or what fits)");
    }
    for (int i = 0; i < shape.rank(); ++i) shape[i] = shape[i] < 0 ? 1 : shape[i];
    OCTAVO_ASSIGN(
        Tensor tensor,
        Tensor::create(value.dtype == DType::kUndefined ? DType::kF32 : value.dtype, shape));
    fill_random(tensor, random);
    inputs.emplace_back(value.name, std::move(tensor));
  }
  return inputs;
}

bool has_open_inputs(const Graph& graph) {
  return std::ranges::any_of(graph.inputs,
                             [&](ValueId id) { return !graph.value(id).shape.is_static(); });
}

/// Keeps the times of each step of all runs.
class StepTimer final : public Observer {
 public:
  bool wants(ValueId) const override { return false; }
  Status on_value(ValueId, const TensorView&) override { return {}; }
  bool wants_time() const override { return true; }
  void on_step(const StepInfo& info, double seconds) override {
    if (next_ == steps_.size()) steps_.push_back({info, {}});
    steps_[next_++].seconds.push_back(seconds);
  }
  void start_run() { next_ = 0; }

  struct TimedStep {
    StepInfo info;
    std::vector<double> seconds;
    double median() const { return quantile(seconds, 0.5); }
  };
  const std::vector<TimedStep>& steps() const { return steps_; }

 private:
  std::vector<TimedStep> steps_;
  size_t next_ = 0;
};

/// The most memory that this process has had so far, in MiB; 0 if the system does not say. (The
/// maximum of getrusage would start with that of the process that started this one.)
double peak_rss_mb() {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/status", "r"),
                                                       std::fclose);
  char line[256];
  double kib = 0;
  while (file != nullptr && std::fgets(line, sizeof line, file.get()) != nullptr) {
    if (std::strncmp(line, "VmHWM:", 6) == 0) kib = std::atof(line + 6);
  }
  return kib / 1024;
}

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Billions of operations a second; a multiply-accumulate counts as two.
double gops(const StepTimer::TimedStep& step) {
  const double seconds = step.median();
  return seconds > 0 ? 2 * static_cast<double>(step.info.macs) / seconds / 1e9 : 0;
}

/// What a step with values of the dtype computes in.
DType computed_in(DType dtype, const std::string& backend) {
  const bool half = dtype == DType::kBF16 || dtype == DType::kF16;
  return half && arithmetic(backend, dtype) == "emulated" ? DType::kF32 : dtype;
}

/// The rate of a plain matrix product in what the steps that count multiplications compute in, by
/// the steps' dtypes.
std::map<DType, double> matmul_rates(const StepTimer& timer, int threads,
                                     const std::string& backend) {
  std::map<DType, double> rates;
  for (const StepTimer::TimedStep& step : timer.steps()) {
    const DType dtype = step.info.dtype;
    if (step.info.macs == 0 || rates.contains(dtype)) continue;
    rates[dtype] = measure_matmul_gops(computed_in(dtype, backend), threads).value_or(0);
  }
  return rates;
}

Json steps_json(const StepTimer& timer, const std::map<DType, double>& rates) {
  Json list = Json::array();
  for (const StepTimer::TimedStep& step : timer.steps()) {
    Json json = {
        {"name", step.info.name},     {"op", step.info.op},
        {"kernel", step.info.kernel}, {"backend", step.info.backend},
        {"shape", step.info.shape},   {"dtype", dtype_name(step.info.dtype)},
        {"ms", step.median() * 1e3},  {"min_ms", *std::ranges::min_element(step.seconds) * 1e3},
        {"macs", step.info.macs},     {"gops", gops(step)}};
    const auto rate = rates.find(step.info.dtype);
    if (step.info.macs > 0 && rate != rates.end() && rate->second > 0) {
      json["of_matmul"] = gops(step) / rate->second;
    }
    list.push_back(std::move(json));
  }
  return list;
}

void print_steps(const StepTimer& timer, const std::map<DType, double>& rates,
                 const std::string& backend) {
  double total = 0;
  for (const StepTimer::TimedStep& step : timer.steps()) total += step.median();
  Table table(
      {"step", "op", "kernel", "backend", "shape", "ms", "share", "GOPS", "of matmul's rate"});
  for (const StepTimer::TimedStep& step : timer.steps()) {
    const double seconds = step.median();
    const auto rate = rates.find(step.info.dtype);
    const bool known = step.info.macs > 0 && rate != rates.end() && rate->second > 0;
    table.add({step.info.name, step.info.op, step.info.kernel, step.info.backend, step.info.shape,
               format_number(seconds * 1e3, 4), format_percent(total > 0 ? seconds / total : 0),
               step.info.macs > 0 ? format_number(gops(step), 1) : "-",
               known ? format_percent(gops(step) / rate->second) : "-"});
  }
  table.print();
  for (const auto& [dtype, rate] : rates) {
    std::printf("a matrix product of 1024 x 1024 x 1024 in %s: %.0f GOPS\n",
                std::string(dtype_name(computed_in(dtype, backend))).c_str(), rate);
  }
  std::printf("\n");
}

/// Requests a second with a stream on each thread.
Result<int> bench_throughput(const Options& options) {
  if (options.per_op) {
    throw CLI::ValidationError("--per-op", "times steps one after another: use --hint latency");
  }
  OCTAVO_ASSIGN(const SessionOptions run_options, make_session_options(options.run));
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(const NamedTensors inputs, make_inputs(loaded.model.graph(), options));
  OCTAVO_ASSIGN(Streams streams, Streams::create(loaded.model, run_options, options.run.threads,
                                                 PerformanceHint::kThroughput, options.run.batch));
  const auto feed = [&](int64_t) -> Result<NamedTensors> { return inputs; };
  const auto ignore = [](int64_t, const NamedTensors&) -> Status { return {}; };
  const auto count = static_cast<int64_t>(streams.size());
  const int64_t each = std::max(options.run.batch, 1), runs = options.runs * count * each;
  OCTAVO_TRY(streams.run(options.warmup * count * each, feed, ignore));
  const auto start = std::chrono::steady_clock::now();
  OCTAVO_TRY(streams.run(runs, feed, ignore));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const double rate = static_cast<double>(runs) / seconds.count();
  print_problems(loaded.model.graph(), options.run, run_options);
  if (options.json) {
    print_json({{"model", options.model},
                {"backend", options.run.backend},
                {"streams", count},
                {"batch", each},
                {"runs", runs},
                {"requests_per_second", rate},
                {"peak_rss_mb", peak_rss_mb()}});
    return 0;
  }
  Table table({"model", "backend", "streams", "batch", "requests", "requests a second"});
  table.add({options.model, options.run.backend, std::to_string(count), std::to_string(each),
             std::to_string(runs), format_number(rate, 1)});
  table.print();
  return 0;
}

Result<int> bench(const Options& options) {
  const double base_rss_mb = peak_rss_mb();
  const auto load_start = Clock::now();
  if (options.run.performance_hint() == PerformanceHint::kThroughput) {
    return bench_throughput(options);
  }
  OCTAVO_ASSIGN(const SessionOptions run_options, make_session_options(options.run));
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model));
  OCTAVO_ASSIGN(Session session, loaded.model.create_session(run_options));
  const double load_ms = ms_since(load_start);
  OCTAVO_ASSIGN(const NamedTensors inputs, make_inputs(loaded.model.graph(), options));
  std::vector<TensorView> feeds;
  // The session's graph has the model's inputs, in their order.
  for (const auto& [name, tensor] : inputs) feeds.push_back(tensor.view());
  std::vector<TensorView> outputs(session.graph().outputs.size());

  StepTimer timer;
  std::vector<double> times;
  double first_run_ms = 0;
  Progress progress("bench");
  const int64_t first = -options.warmup - 1;
  for (int64_t i = first; i < options.runs; ++i) {
    timer.start_run();
    const auto start = Clock::now();
    auto status = session.run(feeds, outputs, options.per_op && i >= 0 ? &timer : nullptr);
    if (!status) {
      const bool guessed = options.shapes.empty() && has_open_inputs(loaded.model.graph());
      if (guessed)
        status.error().message += "; its open input dimensions were set to 1: pass --shape";
      return std::unexpected(std::move(status).error());
    }
    const double ms = ms_since(start);
    if (i == first) first_run_ms = ms;
    if (i >= 0) {
      times.push_back(ms);
      progress.update(i + 1, options.runs);
    }
  }
  print_problems(loaded.model.graph(), options.run, run_options);
  const double median = quantile(times, 0.5), p90 = quantile(times, 0.9);
  const double fastest = *std::ranges::min_element(times);
  const int threads = run_options.pool == nullptr ? 1 : run_options.pool->thread_count();
  const Shape batch_shape = inputs.empty() ? Shape{} : inputs.front().second.shape();
  const int64_t batch = batch_shape.rank() > 0 ? batch_shape[0] : 1;
  std::map<DType, double> rates;
  if (options.per_op) rates = matmul_rates(timer, threads, options.run.backend);
  if (options.json) {
    Json json = {{"model", options.model},
                 {"backend", options.run.backend},
                 {"threads", threads},
                 {"batch", batch},
                 {"runs", options.runs},
                 {"median_ms", median},
                 {"p90_ms", p90},
                 {"min_ms", fastest},
                 {"load_ms", load_ms},
                 {"first_run_ms", first_run_ms},
                 {"base_rss_mb", base_rss_mb},
                 {"peak_rss_mb", peak_rss_mb()},
                 {"file_bytes", loaded.file_bytes}};
    if (options.per_op) json["per_op"] = steps_json(timer, rates);
    print_json(json);
    return 0;
  }
  if (options.per_op) print_steps(timer, rates, options.run.backend);
  Table table({"model", "backend", "threads", "batch", "runs", "median", "p90", "min", "load",
               "first run", "peak memory"});
  table.add({options.model, options.run.backend, std::to_string(threads), std::to_string(batch),
             std::to_string(options.runs), format_ms(median), format_ms(p90), format_ms(fastest),
             format_ms(load_ms), format_ms(first_run_ms),
             concat(format_number(peak_rss_mb(), 1), " MiB")});
  table.print();
  return 0;
}

}  // namespace

Verb add_bench(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("bench", "Measure latency and memory");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Model (.onnx or .octavo)")->required();
  verb->add_option("--runs", options->runs, "Timed runs")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb->add_option("--warmup", options->warmup, "Runs before them")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  verb->add_option("--shape", options->shapes, "NAME=1x3x224x224; open dimensions are 1 otherwise");
  verb->add_option("--input", options->inputs, "NAME=FILE.npy instead of random numbers");
  verb->add_option("--seed", options->seed, "Of the random inputs")->capture_default_str();
  verb->add_flag("--per-op", options->per_op, "Also the time of each step");
  add_run_options(*verb, options->run, {"backend", "device", "hint", "batch", "weight_cache"});
  add_json_flag(*verb, options->json);
  return {verb, [options] { return bench(*options); }};
}

}  // namespace octavo::cli
