#include "runtime/status.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

TEST(Error, IsOneLineThatNamesNodeAndTensor) {
  const Error error{ErrorCode::kShapeMismatch, "shapes do not fit", "conv1", "x"};
  EXPECT_EQ(error.to_string(), "shapes do not fit (node 'conv1') (tensor 'x')");
}

}  // namespace
}  // namespace octavo
