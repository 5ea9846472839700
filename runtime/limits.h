// The limits within which any byte string given as a model or as data yields a result or an error.
// They are checked before memory is allocated.
#pragma once

#include <cstdint>

namespace octavo::limits {

inline constexpr int64_t kModelBytes = int64_t{2} << 30;   // one model file
inline constexpr int64_t kTensorBytes = int64_t{8} << 30;  // one tensor
inline constexpr int64_t kPlanBytes = int64_t{16} << 30;   // all activations of one plan
inline constexpr int64_t kNodes = 1'000'000;               // nodes of one graph
inline constexpr int kNesting = 32;                        // If / Loop / Scan / function depth
inline constexpr int64_t kLoopIterations = 100'000'000;    // of one Loop node
inline constexpr int64_t kFoldBytes = int64_t{64} << 20;   // a constant made by folding
inline constexpr int64_t kPlanFoldElements = 4096;         // a shape computation folded by a plan

}  // namespace octavo::limits
