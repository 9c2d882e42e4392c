#include "storage/record_format.h"

#include <catch2/catch.hpp>

#include "storage/internal/outbox_row.h"

using namespace skerry;
using namespace skerry::storage;

namespace {

Prediction full_prediction() {
  return {PredictionId{7}, "har", 3, "imu{device=a}", {-5, INT64_MAX}, 128, 42, {0.1f, -2.5f, 3e38f}, 2, -1};
}
Label full_label() { return {LabelId{9}, "har", PredictionId{7}, "imu", {1, 2}, 4, "operator", 99}; }
Example full_example() {
  return {ExampleId{3}, "har", "imu", {1, 2}, {1, 2, 3, 4, 5, 6}, 3, 1, ExampleRole::holdout, PredictionId{7}, 11};
}
ModelVersion full_version() {
  return {"har", 4, 3, ModelState::canary, true, "better by 2 points", "abc", "jobs/17", 5, 6, 0.975};
}

// decode(encode(x)) == x; every truncation and every flipped bit is corrupt.
template <typename T, typename Decode>
void check_format(const T& value, Decode decode) {
  const std::string bytes = encode(value);
  auto back = decode(bytes);
  REQUIRE(back.ok());
  CHECK(*back == value);
  for (size_t n = 0; n < bytes.size(); ++n) {
    auto cut = decode(std::string_view(bytes).substr(0, n));
    REQUIRE(!cut.ok());
    REQUIRE(cut.error().code == Code::corrupt);
  }
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    auto read = decode(flipped);
    REQUIRE(!read.ok());
    REQUIRE(read.error().code == Code::corrupt);
  }
  REQUIRE(!decode(bytes + "x").ok());
}

}  // namespace

TEST_CASE("record format: predictions, labels, examples and versions survive, damage does not") {
  check_format(full_prediction(), decode_prediction);
  check_format(full_label(), decode_label);
  check_format(full_example(), decode_example);
  check_format(full_version(), decode_model_version);
  check_format(Prediction{}, decode_prediction);
  check_format(Label{}, decode_label);
  check_format(Example{}, decode_example);
  check_format(ModelVersion{}, decode_model_version);
}

TEST_CASE("record format: one thing is never read as another") {
  CHECK(!decode_label(encode(full_prediction())).ok());
  CHECK(!decode_prediction(encode(full_example())).ok());
  CHECK(!decode_example(encode(full_version())).ok());
  CHECK(!decode_model_version(encode(full_label())).ok());
}

TEST_CASE("record format: a newer format asks for an update") {
  std::string bytes = storage::internal::seal('P', 2, "from the future");
  auto read = decode_prediction(bytes);
  REQUIRE(!read.ok());
  CHECK(read.error().message.find("update") != std::string::npos);
}

TEST_CASE("record format: a length that promises more than there is allocates nothing") {
  storage::internal::Writer body;
  body.fixed64(1);
  body.text("har");
  body.fixed32(1);
  body.text("imu");
  body.fixed64(0);
  body.fixed64(0);
  body.fixed32(1);
  body.fixed64(0);
  body.varint(uint64_t{1} << 62);  // scores
  CHECK(decode_prediction(storage::internal::seal('P', 1, body.bytes())).error().code == Code::corrupt);
}

TEST_CASE("record format: an outbox row survives, damage does not") {
  storage::internal::OutboxRow row;
  row.kind = EntryKind::prediction;
  row.refers = storage::internal::Refers::prediction;
  row.queued_ns = -3;
  row.bytes_before = uint64_t{1} << 60;
  row.bytes = 77;
  row.records = 5;
  row.subject = "har/3";
  row.data = std::string("\0key", 4);
  const std::string bytes = encode_row(row);
  auto back = storage::internal::decode_row(bytes);
  REQUIRE(back.ok());
  CHECK(encode_row(*back) == bytes);
  CHECK(back->bytes_before == row.bytes_before);
  for (size_t n = 0; n < bytes.size(); ++n)
    REQUIRE(!storage::internal::decode_row(std::string_view(bytes).substr(0, n)).ok());
}
