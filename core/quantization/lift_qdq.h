// The first step of collapse_qdq, and what its two steps share.
#pragma once

#include "core/graph_edit.h"

namespace octavo {

/// An integer type and its parameters.
struct Grid {
  DType dtype = DType::kUndefined;
  std::shared_ptr<const QuantParams> params;

  bool operator==(const Grid& other) const {
    return dtype == other.dtype && (params == other.params || *params == *other.params);
  }
};

/// Moves the constant parameters of QuantizeLinear and DequantizeLinear nodes onto the integer
/// values between them, where everything that reads a value agrees. Returns the number of nodes
/// changed. Errors: kInvalidModel for scales that are not positive and finite; names the node.
Result<int> lift_parameters(GraphEditor& editor, Graph& graph);

}  // namespace octavo
