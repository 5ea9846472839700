// Small quantized files have no names inside (OnnxOptions::keep_names). Operators of such a model
// are told by their order and by what they read.
#pragma once

#include "core/octavo.h"

namespace octavo {

/// `quantized` with the names of the float model's operators and tensors, if most of its operators
/// have others, and it has the same operators in the same order, between the same tensors. Else as
/// it is.
Model with_names_of(const Model& float_model, const Model& quantized);

}  // namespace octavo
