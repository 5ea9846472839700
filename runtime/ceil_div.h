// Division of counts and sizes, rounded up.
#pragma once

#include <type_traits>

namespace octavo {

/// `value` is not negative, `by` is positive.
template <class T>
constexpr T ceil_div(T value, std::type_identity_t<T> by) {
  return (value + by - 1) / by;
}

/// The next multiple of `unit`.
template <class T>
constexpr T round_up(T value, std::type_identity_t<T> unit) {
  return ceil_div(value, unit) * unit;
}

}  // namespace octavo
