#include "core/report/report.h"
#include "core/tuning/journal.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

Json optional_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json comparison_json(const TensorComparison& c) {
  return {{"tensor", c.tensor},
          {"op", c.node_op},
          {"sqnr_db", c.sqnr_db},
          {"cosine", c.cosine},
          {"mse", c.mse},
          {"kl", c.kl},
          {"max_abs_error", c.max_abs_error},
          {"histogram",
           {{"min", c.distribution.min},
            {"max", c.distribution.max},
            {"float", c.distribution.a},
            {"quantized", c.distribution.b}}}};
}

}  // namespace

std::string report_json(const Report& report) {
  const Diagnosis& d = report.diagnosis;
  Json outputs = Json::array(), tensors = Json::array(), ops = Json::array();
  for (const TensorComparison& output : d.outputs) outputs.push_back(comparison_json(output));
  for (const TensorDiagnosis& tensor : d.tensors) {
    Json json = comparison_json(tensor);
    json["dtype"] = tensor.dtype;
    json["quantized"] = tensor.quantized;
    if (tensor.scale > 0) {
      json["scale"] = tensor.scale;
      json["low"] = tensor.low;
      json["high"] = tensor.high;
      json["clipped"] = tensor.clipped;
    }
    tensors.push_back(std::move(json));
  }
  for (const OpDiagnosis& op : d.ops) {
    ops.push_back({{"node", op.node},
                   {"op", op.op},
                   {"tensor", op.tensor},
                   {"quantized", op.quantized},
                   {"weights", op.weights},
                   {"activations", op.activations},
                   {"sqnr_db", optional_json(op.sqnr_db)},
                   {"own_sqnr_db", optional_json(op.own_sqnr_db)},
                   {"weight_sqnr_db", optional_json(op.weight_sqnr_db)}});
  }
  Json json = {{"float_model", report.float_model},
               {"quantized_model", report.quantized_model},
               {"data", report.data},
               {"samples", d.samples},
               {"agreement", d.agreement},
               {"float_constant_bytes", d.float_bytes},
               {"quantized_constant_bytes", d.quantized_bytes}};
  if (report.sources) {
    json["error_sources"] = {{"weights_sqnr_db", report.sources->weights_sqnr_db},
                             {"activations_sqnr_db", report.sources->activations_sqnr_db},
                             {"both_sqnr_db", report.sources->both_sqnr_db}};
  }
  if (!report.hint.empty()) json["hint"] = report.hint;
  Json sensitivity = Json::array();
  for (const OpSensitivity& op : report.sensitivity) {
    sensitivity.push_back({{"node", op.node},
                           {"op", op.op},
                           {"sqnr_db", op.sqnr_db},
                           {"weights_sqnr_db", op.weights_sqnr_db},
                           {"activations_sqnr_db", op.activations_sqnr_db}});
  }
  json["sensitivity"] = std::move(sensitivity);
  if (report.tuning) json["tuning"] = Json::parse(tuning_json(*report.tuning), nullptr, false);
  json["outputs"] = std::move(outputs);
  json["ops"] = std::move(ops);
  json["tensors"] = std::move(tensors);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace octavo
