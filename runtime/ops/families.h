// The families of operator rows; runtime/op.cc makes the table from them.
#pragma once

#include <span>

#include "runtime/op.h"

namespace octavo::ops {

std::span<const OpDef> unary_ops();      // unary.cc
std::span<const OpDef> binary_ops();     // binary.cc
std::span<const OpDef> cast_ops();       // cast.cc
std::span<const OpDef> select_ops();     // select.cc: Where, Clip, PRelu, Dropout, Max, Sum, ...
std::span<const OpDef> quantize_ops();   // quantize.cc
std::span<const OpDef> conv_ops();       // conv.cc
std::span<const OpDef> columns_ops();    // columns.cc: Col2Im, DeformConv
std::span<const OpDef> matmul_ops();     // matmul.cc
std::span<const OpDef> einsum_ops();     // einsum.cc: Einsum, Det
std::span<const OpDef> pool_ops();       // pool.cc
std::span<const OpDef> roi_ops();        // roi.cc: MaxRoiPool, RoiAlign, NonMaxSuppression
std::span<const OpDef> norm_ops();       // norm.cc
std::span<const OpDef> softmax_ops();    // softmax.cc
std::span<const OpDef> reduce_ops();     // reduce.cc
std::span<const OpDef> rank_ops();       // topk.cc: ArgMax, ArgMin, CumSum, TopK
std::span<const OpDef> shape_ops();      // shape.cc: Reshape, Squeeze, Shape, ...
std::span<const OpDef> arrange_ops();    // arrange.cc: Transpose, Concat, Split, Expand, ...
std::span<const OpDef> slice_ops();      // slice.cc
std::span<const OpDef> pad_ops();        // pad.cc
std::span<const OpDef> gather_ops();     // gather.cc
std::span<const OpDef> scatter_ops();    // scatter.cc
std::span<const OpDef> generate_ops();   // generate.cc: Range, ConstantOfShape, NonZero, ...
std::span<const OpDef> resize_ops();     // resize.cc
std::span<const OpDef> image_ops();      // image.cc: GridSample, AffineGrid
std::span<const OpDef> recurrent_ops();  // recurrent.cc
std::span<const OpDef> control_ops();    // control.cc
std::span<const OpDef> signal_ops();     // signal.cc
std::span<const OpDef> loss_ops();       // loss.cc

}  // namespace octavo::ops
