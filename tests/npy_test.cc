#include "native/npy.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "tests/temp_dir.h"

namespace octavo {
namespace {

/// A .npy file with this header dictionary.
std::string npy_file(const std::string& header, std::string_view data, char version = 1) {
  std::string file("\x93NUMPY", 6);
  file += version;
  file += '\0';
  const auto length = static_cast<uint32_t>(header.size());
  file.append(reinterpret_cast<const char*>(&length), version == 1 ? 2 : 4);
  return file + header + std::string(data);
}

template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

Result<NamedTensors> read_npz(const std::string& path) {
  OCTAVO_ASSIGN(auto arrays, open_npz(path));
  NamedTensors tensors;
  for (auto& [name, reader] : arrays) {
    OCTAVO_ASSIGN(Tensor tensor, reader.read_all());
    tensors.emplace_back(name, std::move(tensor));
  }
  return tensors;
}

struct ZipMember {
  std::string name, data;
  bool deflate = false;
  uint16_t flags = 0;
  uint32_t claimed_size = 0;  // 0: the truth
};

std::string deflated(const std::string& data) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(data.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zip_file(const std::vector<ZipMember>& members) {
  std::string file, directory;
  const auto put = [](std::string& out, uint64_t value, size_t bytes) {
    out.append(reinterpret_cast<const char*>(&value), bytes);
  };
  for (const ZipMember& member : members) {
    const std::string stored = member.deflate ? deflated(member.data) : member.data;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(member.data.data()),
                           static_cast<uInt>(member.data.size()));
    std::string common;
    put(common, 20, 2);
    put(common, member.flags, 2);
    put(common, member.deflate ? 8 : 0, 2);
    put(common, 0, 4);
    put(common, crc, 4);
    put(common, stored.size(), 4);
    put(common, member.claimed_size != 0 ? member.claimed_size : member.data.size(), 4);
    put(common, member.name.size(), 2);
    put(common, 0, 2);
    const size_t offset = file.size();
    file += std::string("PK\3\4") + common + member.name + stored;
    directory += std::string("PK\1\2") + std::string("\x14\0", 2) + common;
    directory.append(2 + 2 + 2 + 4, '\0');
    put(directory, offset, 4);
    directory += member.name;
  }
  const size_t start = file.size();
  file += directory + "PK\5\6" + std::string(4, '\0');
  put(file, members.size(), 2);
  put(file, members.size(), 2);
  put(file, directory.size(), 4);
  put(file, start, 4);
  put(file, 0, 2);
  return file;
}

TEST(Npy, WritesWhatItReadsBackForEveryNumberType) {
  const TempDir dir;
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (dtype == DType::kString) continue;
    const Tensor tensor = *Tensor::create(dtype, {2, 3});
    ASSERT_TRUE(write_npy(dir.path("a.npy"), tensor)) << dtype_name(dtype);
    const auto back = read_npy(dir.path("a.npy"));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->shape(), tensor.shape());
    const bool has_numpy_type = dtype != DType::kBF16 && dtype != DType::kI4 && dtype != DType::kU4;
    EXPECT_TRUE(!has_numpy_type || back->dtype() == dtype) << dtype_name(dtype);
  }
  const Tensor half = Tensor::of<BFloat16>({2}, {BFloat16(1.5F), BFloat16(-2)});
  ASSERT_TRUE(write_npy(dir.path("half.npy"), half));
  const auto widened = read_npy(dir.path("half.npy"));
  ASSERT_TRUE(widened && widened->dtype() == DType::kF32);
  EXPECT_EQ(widened->data<float>()[0], 1.5F);
  EXPECT_EQ(widened->data<float>()[1], -2);
}

TEST(Npy, DataStartAtAMultipleOf64AsNumpyDoes) {
  for (int64_t size = 1; size < 1000000; size *= 10) {
    const auto bytes = npy_bytes(*Tensor::create(DType::kU8, {size}));
    ASSERT_TRUE(bytes);
    EXPECT_EQ((bytes->size() - static_cast<size_t>(size)) % 64, 0U);
  }
}

TEST(Npy, ReadsFortranOrder) {
  const TempDir dir;
  // [[1, 2, 3], [4, 5, 6]] by columns.
  const auto path =
      dir.write("f.npy", npy_file("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n",
                                  bytes_of<int32_t>({1, 4, 2, 5, 3, 6})));
  const auto tensor = read_npy(path);
  ASSERT_TRUE(tensor) << tensor.error().message;
  const auto data = tensor->data<int32_t>();
  EXPECT_EQ(std::vector<int32_t>(data.begin(), data.end()),
            (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
}

TEST(Npy, SwapsBigEndian) {
  const TempDir dir;
  const auto path =
      dir.write("b.npy", npy_file("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }\n",
                                  std::string("\x01\x02\xFF\xFE", 4)));
  const auto tensor = read_npy(path);
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_EQ(tensor->data<int16_t>()[0], 0x0102);
  EXPECT_EQ(tensor->data<int16_t>()[1], -2);
}

TEST(Npy, ReadsVersions2And3) {
  const TempDir dir;
  for (const char version : {2, 3}) {
    const auto path = dir.write(
        "v.npy",
        npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n", "\7", version));
    const auto tensor = read_npy(path);
    ASSERT_TRUE(tensor) << tensor.error().message;
    EXPECT_EQ(tensor->shape().rank(), 0);
    EXPECT_EQ(tensor->data<uint8_t>()[0], 7);
  }
}

TEST(Npy, RefusesBadFilesNamingThem) {
  const TempDir dir;
  const std::string ok = "'fortran_order': False, 'shape': (2,), }\n";
  const struct {
    std::string file, message;
  } kCases[] = {
      {npy_file("{'descr': '|O', " + ok, "12345678"), "pickle"},
      {npy_file("{'descr': [('a', '<f4')], " + ok, "12345678"), "records"},
      {npy_file("{'descr': '<U3', " + ok, std::string(24, '\0')), "type '<U3'"},
      {npy_file("{'descr': '<f4', " + ok, "1234567"), "too short"},
      {npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
                "1"),
       "too short"},
      {npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
                "1"),
       "header is wrong"},
      {npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "1"),
       "header is wrong"},
      {npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "1234"),
       "9 dimensions"},
      {npy_file("{'descr': '<f4'", ""), "header is wrong"},
      {std::string("\x93NUMPY\2\0\xFF\xFF\xFF\xFF", 12), "header is too long"},
      {std::string("\x93NUMPY\1\0\x80\0{", 11), "cut off"},
      {"hello", "does not start"},
      {"", "does not start"},
  };
  for (const auto& [file, message] : kCases) {
    const auto tensor = read_npy(dir.write("bad.npy", file));
    ASSERT_FALSE(tensor) << message;
    EXPECT_NE(tensor.error().message.find("bad.npy"), std::string::npos) << tensor.error().message;
    EXPECT_NE(tensor.error().message.find(message), std::string::npos) << tensor.error().message;
  }
}

TEST(Npz, ReadsStoredAndDeflatedArrays) {
  const TempDir dir;
  const auto a = *npy_bytes(Tensor::of<float>({2}, {1.5F, -3}));
  const auto b = *npy_bytes(*Tensor::create(DType::kI64, {300, 1000}));
  const auto path =
      dir.write("x.npz", zip_file({{"a.npy", std::string(a.begin(), a.end())},
                                   {"state/b.npy", std::string(b.begin(), b.end()), true}}));
  const auto arrays = read_npz(path);
  ASSERT_TRUE(arrays) << arrays.error().message;
  ASSERT_EQ(arrays->size(), 2U);
  EXPECT_EQ((*arrays)[0].first, "a");
  EXPECT_EQ((*arrays)[0].second.data<float>()[1], -3);
  EXPECT_EQ((*arrays)[1].first, "state/b");
  EXPECT_EQ((*arrays)[1].second.shape(), (Shape{300, 1000}));
}

TEST(Npz, RefusesHostileArchives) {
  const TempDir dir;
  const auto good = *npy_bytes(Tensor::of<float>({2}, {1, 2}));
  const std::string array(good.begin(), good.end());
  std::string flipped = zip_file({{"a.npy", array, true}});
  flipped[60] ^= 0x10;
  const std::string whole = zip_file({{"a.npy", array}});
  const struct {
    std::string file, message;
  } kCases[] = {
      {zip_file({{"../a.npy", array}}), "bad name"},
      {zip_file({{"/a.npy", array}}), "bad name"},
      {zip_file({{"a.npy", array}, {"a.npy", array}}), "bad name"},
      {zip_file({{"a.npy", array, false, 1}}), "encrypted"},
      {zip_file({{"a.npy", array, true, 0, 0x7FFFFFFF}}), "more than is allowed"},
      {zip_file({{"a.npy", array, false, 0, 5000}}), "outside the file"},
      {zip_file({{"readme.txt", "hello"}}), "not a .npy array"},
      {flipped, ""},
      {whole.substr(0, whole.size() / 2), "directory is missing"},
      {"", "directory is missing"},
  };
  for (const auto& [file, message] : kCases) {
    const auto arrays = read_npz(dir.write("bad.npz", file));
    ASSERT_FALSE(arrays) << message;
    EXPECT_NE(arrays.error().message.find("bad.npz"), std::string::npos) << arrays.error().message;
    EXPECT_NE(arrays.error().message.find(message), std::string::npos) << arrays.error().message;
  }
}

TEST(Npz, NoPrefixOrSingleByteChangeCrashes) {
  const TempDir dir;
  const auto a = *npy_bytes(*Tensor::create(DType::kF32, {10, 10}));
  const std::string file = zip_file({{"a.npy", std::string(a.begin(), a.end()), true},
                                     {"b.npy", std::string(a.begin(), a.end())}});
  for (size_t i = 0; i < file.size(); i += 3) {
    (void)read_npz(dir.write("cut.npz", file.substr(0, i)));
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 0xFF);
    (void)read_npz(dir.write("changed.npz", changed));
  }
}

TEST(Idx, ReadsBigEndianAndRefusesShortFiles) {
  const TempDir dir;
  std::string file("\0\0\x0C\2\0\0\0\1\0\0\0\2\0\0\0\1\xFF\xFF\xFF\xFE", 20);
  auto reader = open_idx(dir.write("x.idx", file));
  ASSERT_TRUE(reader) << reader.error().message;
  const auto tensor = reader->read_all();
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->shape(), (Shape{1, 2}));
  EXPECT_EQ(tensor->data<int32_t>()[0], 1);
  EXPECT_EQ(tensor->data<int32_t>()[1], -2);
  file.pop_back();
  EXPECT_FALSE(open_idx(dir.write("x.idx", file)));
  EXPECT_FALSE(open_idx(dir.write("x.idx", file.substr(0, 9))));
}

}  // namespace
}  // namespace octavo
