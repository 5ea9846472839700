// Where a quantized model comes from, kept in its properties: enough to make the same file again
// from the float model and the calibration data, and to say what differs if that fails.
#pragma once

#include "core/octavo.h"

namespace octavo {

struct Provenance {
  std::string version;  // of Octavo
  Recipe recipe;        // with every option; the file has those that are not at their defaults
  std::string model;    // model_hash of the float model
  std::string data;     // hash of the calibration samples; empty: none were wanted
  int64_t samples = 0;  // of the data, in their order
  bool deterministic = false;  // QuantizeOptions::deterministic
};

/// What the graph computes, as 16 hexadecimal digits: its properties do not count.
Result<std::string> model_hash(const Graph& graph);

/// Sets the property `octavo` of the graph, a JSON object.
void write_provenance(const Provenance& provenance, Graph& graph);
/// Errors: kNotFound if the graph has none, kInvalidArgument if it cannot be read.
Result<Provenance> read_provenance(const Graph& graph);

struct Verification {
  Provenance provenance;   // of the file
  std::string difference;  // why the file could not be made again; empty: it was, byte for byte
  bool same() const { return difference.empty(); }
};

/// verify() in steps, for callers whose data arrive between calls. What can be said before the file
/// is made again: where it comes from, and whether from this float model.
/// Errors: those of read_provenance and Model::load.
Result<Verification> begin_verification(std::span<const uint8_t> file, const Model& float_model);
/// Compares the file with a model that was quantized by its recipe on `found.provenance.samples`
/// samples, and with QuantizeOptions::deterministic as it says. Fills `found.difference`.
Status end_verification(std::span<const uint8_t> file, const Model& made, Verification& found);

/// Makes a quantized file again from its provenance and compares the bytes. `data` may be absent if
/// the recipe wants none. Errors: those of read_provenance, Model::load and quantize_model.
Result<Verification> verify(std::span<const uint8_t> file, const Model& float_model,
                            DataLoader* data, QuantizeOptions options = {});

}  // namespace octavo
