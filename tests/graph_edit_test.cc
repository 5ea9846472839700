#include "core/graph_edit.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

// x -> a -> b -> y, out of kinds that need no rows.
Graph chain() {
  Graph graph;
  for (const char* name : {"x", "a", "b", "y"}) {
    graph.add_value({.name = name, .dtype = DType::kF32, .shape = Shape{2}});
  }
  graph.nodes.push_back({.kind = OpKind::kAbs, .inputs = {0}, .outputs = {1}, .name = "abs"});
  graph.nodes.push_back({.kind = OpKind::kNeg, .inputs = {1}, .outputs = {2}, .name = "neg"});
  graph.nodes.push_back({.kind = OpKind::kExp, .inputs = {2}, .outputs = {3}, .name = "exp"});
  graph.inputs = {0};
  graph.outputs = {3};
  return graph;
}

std::string node_names(const Graph& graph) {
  std::string names;
  for (const Node& node : graph.nodes) names += concat(names.empty() ? "" : " ", node.name);
  return names;
}

TEST(GraphEditor, InsertedNodesStandBeforeTheirNodeAndIdsHoldUntilFinish) {
  Graph graph = chain();
  {
    GraphEditor editor(graph);
    const ValueId t = editor.add_value("a", DType::kF32, Shape{2});
    editor.insert_before(2, {.kind = OpKind::kRelu, .inputs = {2}, .outputs = {t}, .name = "relu"});
    editor.set_input(2, 0, t);
    EXPECT_EQ(editor.graph().value(t).name, "a_1");
    EXPECT_EQ(editor.consumers(2), std::vector<NodeId>{3});
    EXPECT_EQ(editor.producer(t), 3);
    EXPECT_TRUE(editor.has_one_use(t));
  }
  EXPECT_EQ(node_names(graph), "abs neg relu exp");
}

TEST(GraphEditor, FinishSortsNodesThatWereInsertedTooEarly) {
  Graph graph = chain();
  {
    GraphEditor editor(graph);
    const ValueId t = editor.add_value("t", DType::kF32, Shape{2});
    editor.insert_before(0,
                         {.kind = OpKind::kAdd, .inputs = {1, 2}, .outputs = {t}, .name = "add"});
    editor.replace_uses(3, t);
  }
  EXPECT_EQ(node_names(graph), "abs neg add exp");
  EXPECT_EQ(graph.value(graph.outputs[0]).name, "t");
}

TEST(GraphEditor, ErasingANodeDropsItsValues) {
  Graph graph = chain();
  GraphEditor editor(graph);
  editor.replace_uses(2, 1);
  editor.erase(1);
  EXPECT_EQ(editor.producer(2), -1);
  editor.finish();
  EXPECT_EQ(node_names(graph), "abs exp");
  EXPECT_EQ(graph.find_value("b"), kNoValue);
  EXPECT_EQ(editor.consumers(graph.find_value("a")), std::vector<NodeId>{1});
}

TEST(GraphEditor, ANodeThatReadsAValueTwiceIsRedirectedTwice) {
  Graph graph = chain();
  graph.nodes[1] = {.kind = OpKind::kMul, .inputs = {1, 1}, .outputs = {2}, .name = "square"};
  {
    GraphEditor editor(graph);
    editor.replace_uses(1, 0);
    editor.erase(0);
  }
  EXPECT_EQ(graph.nodes[0].inputs, (std::vector<ValueId>{0, 0}));
}

}  // namespace
}  // namespace octavo
