// Bytes of deltas and examples, and the job folder: there and back, and hostile.
#include <catch2/catch.hpp>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "learning/delta.h"
#include "learning/job.h"
#include "tests/inference/fake_runtime.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::test::TempDir;

namespace {

Delta a_delta(Random& random) {
  Delta delta{"har", 3, 4, "digest", {}};
  for (uint64_t t = 0; t < random.below(5); ++t) {
    TensorDelta tensor{"conv" + std::to_string(t), 1 + random.below(5000), static_cast<float>(random.uniform(0, 2)), {}, {}};
    for (uint32_t i = 0; i < tensor.elements; ++i) {
      if (!random.chance(0.1)) continue;
      tensor.indices.push_back(i);
      tensor.values.push_back(static_cast<int8_t>(random.below(256)));
    }
    delta.tensors.push_back(std::move(tensor));
  }
  return delta;
}

ExampleSet some_examples(uint32_t count) {
  ExampleSet set{2, 4, {}};
  for (uint32_t i = 0; i < count; ++i) set.windows.push_back({std::vector<float>(8, static_cast<float>(i)), static_cast<int32_t>(i) % 3});
  return set;
}

std::string with_crc(std::string body) {
  uint32_t crc = crc32c(body);
  for (int shift = 0; shift < 32; shift += 8) body += static_cast<char>(crc >> shift);
  return body;
}

}  // namespace

TEST_CASE("delta: what is encoded comes back") {
  Random random(Catch::rngSeed());
  for (int i = 0; i < 50; ++i) {
    Delta delta = a_delta(random);
    auto back = decode_delta(encode_delta(delta));
    REQUIRE(back.ok());
    CHECK(encode_delta(*back) == encode_delta(delta));
    CHECK(back->model == "har");
    REQUIRE(back->tensors.size() == delta.tensors.size());
    for (size_t t = 0; t < delta.tensors.size(); ++t) {
      CHECK(back->tensors[t].indices == delta.tensors[t].indices);
      CHECK(back->tensors[t].values == delta.tensors[t].values);
      CHECK(back->tensors[t].scale == delta.tensors[t].scale);
    }
  }
}

TEST_CASE("delta: every damaged byte and every length is refused") {
  Random random(7);
  std::string good = encode_delta(Delta{"har", 1, 2, "d", {{"w", 300, 0.5f, {0, 1, 299}, {1, -128, 127}}}});
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 + random.below(255)));
    CHECK(decode_delta(bad).error().code == Code::corrupt);
    CHECK(decode_delta(good.substr(0, i)).error().code == Code::corrupt);
  }
}

TEST_CASE("delta: claims beyond its size are refused, although the checksum holds") {
  // 2^60 indices, an index outside the tensor, a scale that is NaN.
  std::string head = std::string("SKDL\1\1m\1\2\1d\1\1w", 14);
  CHECK_FALSE(decode_delta(with_crc(head + "\x04" + std::string("\0\0\0\x3f", 4) + std::string(8, '\xff') + "\x0f")).ok());
  CHECK_FALSE(decode_delta(with_crc(head + "\x04" + std::string("\0\0\0\x3f", 4) + "\x01\x04\x01")).ok());
  CHECK_FALSE(decode_delta(with_crc(head + "\x04" + std::string("\0\0\xc0\x7f", 4) + std::string("\x01\x00\x01", 3))).ok());
  CHECK(decode_delta(with_crc(head + "\x04" + std::string("\0\0\0\x3f", 4) + std::string("\x01\x03\x01", 3))).ok());
}

TEST_CASE("delta: applied to its base it gives the sum, and nothing to a tensor of another size") {
  std::vector<float> tensor{1, 2, 3, 4};
  TensorDelta delta{"w", 4, 0.25f, {1, 3}, {4, -8}};
  REQUIRE(apply_delta(delta, tensor).ok());
  CHECK(tensor == std::vector<float>{1, 3, 3, 2});
  std::vector<float> other{1};
  CHECK(apply_delta(delta, other).error().code == Code::invalid);
  CHECK(other == std::vector<float>{1});
}

TEST_CASE("examples: there and back, and every damage is refused") {
  std::string good = encode_examples(some_examples(3));
  auto back = decode_examples(good);
  REQUIRE(back.ok());
  CHECK(back->channels == 2);
  CHECK(back->windows[2].label == 2);
  CHECK(back->windows[2].data == std::vector<float>(8, 2.0f));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x40);
    CHECK_FALSE(decode_examples(bad).ok());
    CHECK_FALSE(decode_examples(good.substr(0, i)).ok());
  }
  CHECK(decode_examples(encode_examples({2, 4, {}})).ok());
}

TEST_CASE("examples: NaN and impossible shapes are refused, although the checksum holds") {
  ExampleSet set = some_examples(1);
  set.windows[0].data[3] = NAN;
  CHECK(decode_examples(encode_examples(set)).error().message.find("not finite") != std::string::npos);
  std::string huge = encode_examples(some_examples(1));
  huge.resize(huge.size() - 4);
  for (int i = 8; i < 16; ++i) huge[static_cast<size_t>(i)] = '\xff';
  CHECK(decode_examples(with_crc(huge)).error().code == Code::corrupt);
}

TEST_CASE("job: what is written is read, and what is half written is no job") {
  TempDir dir;
  inference::Package parent;
  parent.folder = inference::test::make_package(dir / "toy", inference::test::small_info(1), "linear 1");
  JobSpec spec;
  spec.target = inference::test::small_info(2);
  spec.target.parent = 1;
  spec.target.training.sparsity = 0.05;
  spec.seed = 0x7fffffffffffffff;
  spec.distill_weight = 3.5;
  std::filesystem::path folder = dir / "job";
  REQUIRE(write_job(folder, spec, some_examples(3), some_examples(2), {2, 4, {}}, parent).ok());
  auto back = read_job(folder);
  REQUIRE(back.ok());
  CHECK(back->kind == JobKind::finetune);
  CHECK(back->seed == spec.seed);
  CHECK(back->distill_weight == 3.5);
  CHECK(back->target.version == 2);
  CHECK(back->target.training.sparsity == 0.05);
  CHECK(inference::Package::open(folder / "parent", 1 << 20).ok());
  CHECK(read_examples(folder / kTrainFile)->windows.size() == 3);
  CHECK(write_job(folder, spec, some_examples(1), {2, 4, {}}, {2, 4, {}}, parent).error().code == Code::invalid);

  CHECK(read_result(folder, 1 << 20).error().code == Code::not_found);
  std::filesystem::remove(folder / "job.toml");
  CHECK(read_job(folder).error().code == Code::not_found);
  for (const char* text : {"kind = \"dance\"\nformat = 1\nseed = 1", "format = 1\nkind = \"fit\"\nseed = -1", "x = ", "format = 9",
                           "format = 1\nkind = \"fit\"\nseed = 1\nthreads = 0", "format = 1\nkind = \"fit\"\nseed = 1\nfull_learning_rate = nan"}) {
    REQUIRE(write_file_atomic(folder / "job.toml", text).ok());
    auto wrong = read_job(folder);
    INFO(text);
    REQUIRE_FALSE(wrong.ok());
    CHECK(wrong.error().code == Code::invalid);
    CHECK(wrong.error().message.find("job.toml") != std::string::npos);
  }
}
