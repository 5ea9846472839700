// JavaScript values and Octavo's. A call that can fail returns what it promises or, in its place,
// {error: {code, message, node, tensor}}, which the TypeScript layer throws.
#pragma once

#include <emscripten/val.h>

#include <memory>
#include <span>
#include <vector>

#include "runtime/session.h"

namespace octavo::wasm {

using emscripten::val;

val to_js(const Error& error);

/// The elements of a Uint8Array, in memory of our own.
struct Buffer {
  std::shared_ptr<void> memory;
  size_t size = 0;
  std::span<const uint8_t> bytes() const {
    return {static_cast<const uint8_t*>(memory.get()), size};
  }
};
Result<Buffer> copy_bytes(const val& array);
/// A Uint8Array with a copy of the bytes.
val to_js(std::span<const uint8_t> bytes);

/// Feeds: an array of {name, dtype, dims, bytes}, with Octavo's dtype names; `bytes` is a
/// Uint8Array or, for strings, an array of strings.
Result<NamedTensors> feeds_from_js(const val& feeds);
val to_js(const NamedTensors& tensors);

/// {name, dtype, dims} of each value; unknown dimensions are null, symbolic ones their names.
val describe(const Graph& graph, std::span<const ValueId> values);

/// The value, or {error}.
template <class T, class Convert>
val unwrap(Result<T> result, const Convert& convert) {
  return result ? convert(*std::move(result)) : to_js(result.error());
}

/// A model that runs. Embind's classes hold these.
class JsSession {
 public:
  explicit JsSession(Session session) : session_(std::move(session)) {}
  val run(const val& feeds);
  val inputs() const;
  val outputs() const;
  double memory_bytes() const { return static_cast<double>(session_.memory_bytes()); }

 private:
  Session session_;
};

inline val session_to_js(Session session) {
  return val(std::make_shared<JsSession>(std::move(session)));
}

}  // namespace octavo::wasm
