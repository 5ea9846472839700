#include "native/model_file.h"

#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

// Protobuf's wire format, as far as a model with one external initializer needs it.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string bytes(int field, const std::string& value) {
  return varint((static_cast<uint64_t>(field) << 3) | 2) + varint(value.size()) + value;
}
std::string vector_type(int64_t size) {
  const std::string shape = bytes(1, number(1, static_cast<uint64_t>(size)));
  return bytes(1, number(1, 1) + bytes(2, shape));
}

/// y = x + w, where w's two floats are in the file `location`.
std::string model_with_external_data(const std::string& location, const std::string& offset = "0") {
  const auto entry = [](const std::string& key, const std::string& value) {
    return bytes(13, bytes(1, key) + bytes(2, value));
  };
  const std::string weights = number(1, 2) + number(2, 1) + bytes(8, "w") +
                              entry("location", location) + entry("offset", offset) +
                              entry("length", "8") + number(14, 1);
  const std::string graph =
      bytes(1, bytes(1, "x") + bytes(1, "w") + bytes(2, "y") + bytes(4, "Add")) + bytes(2, "g") +
      bytes(5, weights) + bytes(11, bytes(1, "x") + bytes(2, vector_type(2))) +
      bytes(12, bytes(1, "y") + bytes(2, vector_type(2)));
  return number(1, 8) + bytes(7, graph) + bytes(8, number(2, 17));
}

TEST(ModelFile, ReadsExternalDataBesideTheModel) {
  const TempDir dir;
  const float values[] = {3, 4, 5, 6};
  dir.write("sub/w.bin", std::string_view(reinterpret_cast<const char*>(values), sizeof values));
  const auto loaded = load_model(dir.write("m.onnx", model_with_external_data("sub/w.bin", "8")));
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->file_bytes, static_cast<int64_t>(fs::file_size(dir.path("m.onnx")) + 16));
  const Graph& graph = loaded->model.graph();
  const ValueId w = graph.find_value("w");
  ASSERT_NE(w, kNoValue);
  EXPECT_EQ(graph.value(w).constant.data<float>()[1], 6);
}

TEST(ModelFile, RefusesExternalDataOutsideTheFolder) {
  const TempDir dir;
  dir.write("secret.bin", "12345678");
  dir.write("model/short.bin", "1234");
  fs::create_symlink(dir.path("secret.bin"), dir.path("model/link.bin"));
  fs::create_directory(dir.path("model/folder"));
  const struct {
    std::string location, message;
  } kCases[] = {
      {"../secret.bin", "inside the model's folder"},
      {"folder/../../secret.bin", "inside the model's folder"},
      {dir.path("secret.bin"), "inside the model's folder"},
      {"link.bin", "outside"},
      {"folder", "regular file"},
      {"short.bin", "too short"},
      {"absent.bin", "absent.bin"},
      {"", ""},
  };
  for (const auto& [location, message] : kCases) {
    const auto loaded = load_model(dir.write("model/m.onnx", model_with_external_data(location)));
    ASSERT_FALSE(loaded) << location;
    EXPECT_NE(loaded.error().message.find(message), std::string::npos) << loaded.error().message;
    EXPECT_NE(loaded.error().message.find("m.onnx"), std::string::npos) << loaded.error().message;
  }
}

}  // namespace
}  // namespace octavo
