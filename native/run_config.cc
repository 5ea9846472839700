#include "native/run_config.h"

#include <sys/mman.h>

#include <algorithm>

#include "native/onednn/onednn.h"
#include "native/thread_pool.h"
#include "native/weight_cache_file.h"
#include "runtime/memory.h"
#include <nlohmann/json.hpp>

namespace octavo {

using Json = nlohmann::ordered_json;

std::span<const RunConfig::Field> RunConfig::fields() {
  static const std::vector<Field> kFields = {
      {.name = "backend",
       .help =
           "default: oneDNN primitives where they are faster, else built-in kernels; itex: oneDNN "
           "Graph before these; portable: these alone",
       .text = &RunConfig::backend,
       .choices = {"default", "itex", "portable"},
       .everywhere = false},
      {.name = "device",
       .help = "What oneDNN computes on; auto: the GPU if it has one, else the CPU",
       .text = &RunConfig::device,
       .choices = {"auto", "cpu", "gpu"},
       .everywhere = false},
      {.name = "threads", .help = "Threads; 0: one per core", .number = &RunConfig::threads},
      {.name = "hint",
       .help = "latency: one request at a time on all threads; throughput: one on each thread",
       .text = &RunConfig::hint,
       .choices = {"latency", "throughput"},
       .everywhere = false},
      {.name = "batch",
       .help = "Requests that hint throughput joins in one run, if the model's batch is open",
       .number = &RunConfig::batch,
       .everywhere = false},
      {.name = "weight_cache",
       .help = "File that keeps the weights in the kernels' order from one session to the next and "
               "for all processes; made if it is missing or is another model's",
       .text = &RunConfig::weight_cache,
       .everywhere = false},
  };
  return kFields;
}

Status RunConfig::validate() const {
  for (const Field& field : fields()) {
    if (field.number != nullptr && (this->*field.number < 0 || this->*field.number > 1024)) {
      return fail(ErrorCode::kInvalidArgument, field.name, " is ", this->*field.number,
                  "; it must be from 0 to 1024");
    }
    if (field.text == nullptr || field.choices.empty()) continue;
    const std::string& value = this->*field.text;
    std::string choices;
    for (const char* choice : field.choices) {
      choices += concat(choices.empty() ? "" : ", ", choice);
    }
    if (std::ranges::none_of(field.choices, [&](const char* c) { return value == c; })) {
      return fail(ErrorCode::kInvalidArgument, field.name, " is '", value, "'; it must be one of ",
                  choices);
    }
  }
  if (batch > 1 && hint != "throughput") {
    return fail(ErrorCode::kInvalidArgument, "batch is ", batch,
                ", but requests run one at a time; it needs hint throughput");
  }
  if (device == "gpu" && backend == "portable") {
    return fail(ErrorCode::kInvalidArgument,
                "the portable backend computes on the CPU; the GPU needs backend default or itex");
  }
  return {};
}

Result<RunConfig> RunConfig::from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "run options: expected a JSON object");
  }
  RunConfig config;
  for (const auto& [key, value] : json.items()) {
    std::vector<std::string> names;
    const Field* found = nullptr;
    for (const Field& field : fields()) {
      names.emplace_back(field.name);
      if (key == field.name) found = &field;
    }
    if (found == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "run options: there is no '", key, "'",
                  did_you_mean(key, names));
    }
    if (found->text != nullptr && value.is_string()) {
      config.*found->text = value.get<std::string>();
    } else if (found->number != nullptr && value.is_number_integer() && value.get<double>() >= -1 &&
               value.get<double>() <= 1025) {
      config.*found->number = value.get<int>();
    } else {
      return fail(ErrorCode::kInvalidArgument, "run options: '", key, "' must be ",
                  found->text != nullptr ? "a string" : "a number from 0 to 1024");
    }
  }
  OCTAVO_TRY(config.validate());
  return config;
}

std::string RunConfig::to_json() const {
  Json json;
  for (const Field& field : fields()) {
    if (field.text != nullptr) {
      json[field.name] = this->*field.text;
    } else {
      json[field.name] = this->*field.number;
    }
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

// Where the system refuses, pages stay small.
void use_large_pages(void* memory, size_t bytes) { ::madvise(memory, bytes, MADV_HUGEPAGE); }

}  // namespace

Result<SessionOptions> make_session_options(const RunConfig& config) {
  OCTAVO_TRY(config.validate());
  set_memory_advice(use_large_pages);
  SessionOptions session;
  session.pool = make_thread_pool(config.threads);
  if (!config.weight_cache.empty()) {
    session.weight_cache = std::make_shared<WeightCacheFile>(config.weight_cache);
  }
  if (config.backend == "portable") return session;
  OCTAVO_ASSIGN(const std::shared_ptr<onednn::Device> device, open_device(config.device));
  session.backends.push_back(config.backend == "itex" ? make_onednn_graph_backend(device)
                                                      : make_onednn_backend(false, device));
  return session;
}

}  // namespace octavo
