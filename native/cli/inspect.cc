// octavo inspect: what a model consists of.
#include <map>
#include <memory>

#include "native/cli/terminal.h"
#include "native/cli/verbs.h"
#include "native/model_file.h"
#include "runtime/quantize_view.h"

namespace octavo::cli {
namespace {

struct Options {
  std::string model;
  bool json = false, nodes = false, dump = false, optimize = true;
};

std::string shape_text(const Graph& graph, const Value& value) {
  return graph.shape_string(value.shape);
}

/// "int8" and the like if the node works on integers that stand for real numbers; "" if not.
std::string quantized_types(const Graph& graph, const Node& node) {
  if (is_conversion(node)) return {};
  std::string activations, weights;
  const auto note = [&](ValueId id) {
    if (id == kNoValue || graph.value(id).quant == nullptr) return;
    const Value& value = graph.value(id);
    std::string& text = value.constant.present() ? weights : activations;
    if (!text.empty()) return;
    text = dtype_name(value.dtype);
    if (!value.quant->per_tensor()) text += " per channel";
  };
  for (const ValueId id : node.inputs) note(id);
  for (const ValueId id : node.outputs) note(id);
  if (activations.empty() && weights.empty()) return {};
  return weights.empty()
             ? activations
             : concat(activations.empty() ? "float" : activations, ", weights ", weights);
}

Json values_json(const Graph& graph, std::span<const ValueId> ids) {
  Json list = Json::array();
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    Json shape = nullptr;
    if (value.shape.has_rank()) {
      shape = Json::array();
      for (const int64_t dim : value.shape) {
        // Open dimensions by name.
        if (dim >= 0) {
          shape.push_back(dim);
        } else {
          shape.push_back(graph.shape_string(Shape{dim}));
        }
      }
    }
    list.push_back(
        {{"name", value.name}, {"dtype", dtype_name(value.dtype)}, {"shape", std::move(shape)}});
  }
  return list;
}

struct Summary {
  std::map<std::string, std::pair<int64_t, int64_t>> ops;  // count, of these quantized
  int64_t parameters = 0, quantized = 0, computing = 0;    // computing: nodes but conversions
};

Summary summarize(const Graph& graph) {
  Summary summary;
  for (const Value& value : graph.values) summary.parameters += value.constant.elements();
  for (const Node& node : graph.nodes) {
    auto& [count, quantized] = summary.ops[std::string(op_name(node.kind))];
    const bool is_quantized = !quantized_types(graph, node).empty();
    ++count;
    quantized += is_quantized;
    summary.quantized += is_quantized;
    summary.computing += !is_conversion(node);
  }
  return summary;
}

void print_summary(const Options& options, const Graph& graph, const Summary& summary,
                   int64_t file_bytes) {
  Table values({"", "name", "dtype", "shape"});
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    values.add(
        {"input", value.name, std::string(dtype_name(value.dtype)), shape_text(graph, value)});
  }
  for (const ValueId id : graph.outputs) {
    const Value& value = graph.value(id);
    values.add(
        {"output", value.name, std::string(dtype_name(value.dtype)), shape_text(graph, value)});
  }
  values.print();
  std::printf("\n");
  Table ops({"op", "count", "quantized"});
  for (const auto& [name, counts] : summary.ops) {
    ops.add({name, std::to_string(counts.first), std::to_string(counts.second)});
  }
  ops.print();
  std::printf("\n");
  if (options.nodes) {
    Table nodes({"node", "op", "shape", "precision"});
    for (const Node& node : graph.nodes) {
      const ValueId out = node.output(0);
      const std::string types = quantized_types(graph, node);
      nodes.add({node.name, std::string(op_name(node.kind)),
                 out == kNoValue ? "" : shape_text(graph, graph.value(out)),
                 !types.empty()        ? types
                 : is_conversion(node) ? "conversion"
                                       : "float"});
    }
    nodes.print();
    std::printf("\n");
  }
  for (const auto& [key, value] : graph.metadata) {
    std::string text = concat(key, ": ", value);
    for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    std::printf("%s\n", text.c_str());
  }
  std::printf("%zu nodes (%lld of %lld quantized), %lld parameters in %s, file %s\n",
              graph.nodes.size(), static_cast<long long>(summary.quantized),
              static_cast<long long>(summary.computing), static_cast<long long>(summary.parameters),
              format_bytes(constant_bytes(graph)).c_str(), format_bytes(file_bytes).c_str());
}

Result<int> inspect(const Options& options) {
  OCTAVO_ASSIGN(const LoadedModel loaded, load_model(options.model, options.optimize));
  const Graph& graph = loaded.model.graph();
  const Summary summary = summarize(graph);
  if (options.json) {
    Json json = {{"model", options.model},
                 {"file_bytes", loaded.file_bytes},
                 {"inputs", values_json(graph, graph.inputs)},
                 {"outputs", values_json(graph, graph.outputs)},
                 {"node_count", graph.nodes.size()},
                 {"quantized_nodes", summary.quantized},
                 {"parameters", summary.parameters},
                 {"constant_bytes", constant_bytes(graph)}};
    for (const auto& [name, counts] : summary.ops) json["ops"][name] = counts.first;
    json["metadata"] = Json::object();
    for (const auto& [key, value] : graph.metadata) json["metadata"][key] = value;
    if (options.nodes) {
      json["nodes"] = Json::array();
      for (const Node& node : graph.nodes) {
        json["nodes"].push_back({{"name", node.name},
                                 {"op", op_name(node.kind)},
                                 {"quantized", !quantized_types(graph, node).empty()},
                                 {"types", quantized_types(graph, node)}});
      }
    }
    if (options.dump) json["dump"] = dump(graph);
    print_json(json);
  } else if (options.dump) {
    std::printf("%s", dump(graph).c_str());
  } else {
    print_summary(options, graph, summary, loaded.file_bytes);
  }
  return 0;
}

}  // namespace

Verb add_inspect(CLI::App& app) {
  CLI::App* verb =
      app.add_subcommand("inspect", "Show a model's inputs, outputs, operators and size");
  const auto options = std::make_shared<Options>();
  verb->add_option("model", options->model, "Model (.onnx or .octavo)")->required();
  verb->add_flag("--nodes", options->nodes, "Every node, and its precision");
  verb->add_flag("--dump", options->dump, "The whole graph as text, one node a line");
  verb->add_flag("--optimize,!--no-optimize", options->optimize,
                 "Simplify the graph first (default)");
  add_json_flag(*verb, options->json);
  return {verb, [options] { return inspect(*options); }};
}

}  // namespace octavo::cli
