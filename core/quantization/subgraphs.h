// Patterns "from..to" in local configurations and white lists: the nodes on the paths from one node
// to another, both included.
#pragma once

#include "core/config/option.h"
#include "runtime/graph.h"

namespace octavo {

/// The names of the nodes that `pattern` means if it is one of two nodes' names with ".." between
/// them; else the pattern itself. Error kNotFound if no path leads from the first to the second.
Result<std::vector<std::string>> nodes_between(const Graph& graph, const std::string& pattern);

/// The config with each such pattern replaced by the nodes' names.
template <class C>
Result<C> with_subgraphs(const Graph& graph, C config) {
  std::vector<typename Config<C>::Local> local;
  for (const auto& entry : config.local) {
    OCTAVO_ASSIGN(const std::vector<std::string> names, nodes_between(graph, entry.pattern));
    for (const std::string& name : names) local.push_back({name, entry.config});
  }
  std::vector<std::string> listed;
  for (const std::string& pattern : config.white_list) {
    OCTAVO_ASSIGN(const std::vector<std::string> names, nodes_between(graph, pattern));
    listed.insert(listed.end(), names.begin(), names.end());
  }
  config.local = std::move(local);
  config.white_list = std::move(listed);
  return config;
}

}  // namespace octavo
