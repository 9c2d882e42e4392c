#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/random.h"
#include "sync/wire.h"
#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;

namespace {

// Changes a byte and mends the checksum, so that the layer behind it is reached.
std::string with_byte(std::string message, size_t at, uint8_t value) {
  message[at] = static_cast<char>(value);
  const uint32_t crc = crc32c(std::string_view(message).substr(8));
  for (int i = 0; i < 4; ++i) message[4 + i] = static_cast<char>(crc >> (8 * i));
  return message;
}

std::string envelope(const std::string& payload, uint32_t size, uint8_t flags) {
  std::string message = "SKRY";
  message.append(4, '\0').append(1, 1).append(1, static_cast<char>(flags));
  for (int i = 0; i < 4; ++i) message += static_cast<char>(size >> (8 * i));
  return with_byte(message + payload, 8, 1);
}

}  // namespace

TEST_CASE("wire: each message comes back as it was sent") {
  Hello hello{"pump-1", 99, {{OutboxClass::telemetry, 4, 9}, {OutboxClass::label, 1, 0}}, 12345, {"har/3 serving", "\xff\x01 odd"}, "skerry 1"};
  auto hello_back = decode_hello(encode(hello));
  REQUIRE(hello_back.ok());
  CHECK(hello_back->node == "pump-1");
  CHECK(hello_back->epoch == 99);
  REQUIRE(hello_back->positions.size() == 2);
  CHECK(hello_back->positions[0].first_seq == 4);
  CHECK(hello_back->positions[0].last_seq == 9);
  CHECK(hello_back->positions[1].outbox_class == OutboxClass::label);
  CHECK(hello_back->backlog_bytes == 12345);
  CHECK(hello_back->models == hello.models);
  CHECK(hello_back->software == "skerry 1");

  auto reply = decode_hello_reply(encode(HelloReply{"hub", {{OutboxClass::model, 7}}, {{OutboxClass::model, 2, 6}}, true}));
  REQUIRE(reply.ok());
  CHECK(reply->hub == "hub");
  CHECK(watermark(*reply, OutboxClass::model) == 7);
  REQUIRE(reply->losses.size() == 1);
  CHECK(reply->losses[0].last_seq == 6);
  CHECK(reply->new_epoch);

  const sync::Batch batch = batch_of(5, 40);
  auto batch_back = decode_batch(encode(batch));
  REQUIRE(batch_back.ok());
  REQUIRE(batch_back->entries.size() == 36);
  for (size_t i = 0; i < batch.entries.size(); ++i) {
    CHECK(batch_back->entries[i].seq == batch.entries[i].seq);
    CHECK(batch_back->entries[i].payload == batch.entries[i].payload);
    CHECK(batch_back->entries[i].subject == batch.entries[i].subject);
    CHECK(batch_back->entries[i].records == 3);
    CHECK(batch_back->entries[i].queued_ns == batch.entries[i].queued_ns);
  }

  auto answer = decode_batch_reply(encode(BatchReply{BatchOutcome::refused, 3, "why"}));
  REQUIRE(answer.ok());
  CHECK(answer->outcome == BatchOutcome::refused);
  CHECK(answer->message == "why");
}

TEST_CASE("wire: a batch of many similar entries is compressed") {
  size_t payload = 0;
  const sync::Batch batch = batch_of(1, 200);
  for (const auto& entry : batch.entries) payload += entry.payload.size() + entry.subject.size();
  CHECK(encode(batch).size() < payload / 2);
}

TEST_CASE("wire: no single wrong bit goes unnoticed") {
  for (const std::string& message : {encode(batch_of(1, 3)), encode(hello_of(1, 4)), encode(BatchReply{BatchOutcome::applied, 3, ""})}) {
    for (size_t bit = 0; bit < message.size() * 8; ++bit) {
      std::string damaged = message;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      CAPTURE(bit);
      REQUIRE_FALSE(decode_batch(damaged).ok());
      REQUIRE_FALSE(decode_hello(damaged).ok());
      REQUIRE_FALSE(decode_batch_reply(damaged).ok());
    }
  }
}

TEST_CASE("wire: a message that is cut anywhere is refused") {
  const std::string message = encode(batch_of(1, 20));
  for (size_t n = 0; n < message.size(); ++n) REQUIRE_FALSE(decode_batch(std::string_view(message).substr(0, n)).ok());
  CHECK_FALSE(decode_batch(message + "x").ok());
}

TEST_CASE("wire: what is no message at all is answered with a hint") {
  auto html = decode_hello_reply("<html>Please log in</html>");
  REQUIRE_FALSE(html.ok());
  CHECK(html.error().code == Code::corrupt);
  CHECK(html.error().message.find("Skerry hub") != std::string::npos);
}

TEST_CASE("wire: a message of another kind is not taken for the expected one") {
  CHECK_FALSE(decode_batch(encode(hello_of(1, 1))).ok());
  CHECK_FALSE(decode_hello(encode(batch_of(1, 1))).ok());
  CHECK_FALSE(decode_batch_reply(encode(HelloReply{"hub", {}, {}})).ok());
}

TEST_CASE("wire: another version and unknown flags ask for an update") {
  const std::string message = encode(hello_of(1, 1));
  auto version = decode_hello(with_byte(message, 8, 2));
  REQUIRE_FALSE(version.ok());
  CHECK(version.error().code == Code::invalid);
  CHECK(version.error().message.find("version 2") != std::string::npos);
  CHECK(decode_hello(with_byte(message, 9, 0x80)).error().code == Code::invalid);
}

TEST_CASE("wire: a claimed size beyond the limit is refused before anything is unpacked") {
  auto huge = decode_batch(envelope("x", 0xffffffff, 1));
  REQUIRE_FALSE(huge.ok());
  CHECK(huge.error().code == Code::invalid);
  CHECK_FALSE(decode_batch(envelope("x", 32 << 20, 1)).ok());
  CHECK_FALSE(decode_batch(envelope("", 0, 0)).ok());
}

TEST_CASE("wire: millions of empty entries are refused by counting, not by parsing") {
  std::string body;
  for (int i = 0; i < 1'000'000; ++i) body += std::string("\x22\x00", 2);  // entries, field 4, empty
  std::string payload = "\x1a";                                           // batch, field 3
  for (size_t n = body.size(); n > 0; n >>= 7) payload += static_cast<char>((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
  payload += body;
  auto decoded = decode_batch(envelope(payload, static_cast<uint32_t>(payload.size()), 0));
  REQUIRE_FALSE(decoded.ok());
  CHECK(decoded.error().message.find("65536") != std::string::npos);
}

TEST_CASE("wire: fields out of their range are named") {
  auto refused = [](const auto& result, const char* part) {
    REQUIRE_FALSE(result.ok());
    INFO(result.error().message);
    CHECK(result.error().message.find(part) != std::string::npos);
  };
  for (const char* name : {"", ".", ".hidden", "a/b", "a b", "\xc3\xa9", "a\n"}) refused(decode_hello(encode(hello_of(1, 1, name))), "node name");
  refused(decode_hello(encode(hello_of(1, 1, std::string(65, 'a')))), "node name");
  CHECK(decode_hello(encode(hello_of(1, 1, std::string(64, 'a')))).ok());
  refused(decode_hello(encode(hello_of(1, 1, "a", 0))), "epoch");
  refused(decode_hello(encode(hello_of(0, 1))), "not a range");
  refused(decode_hello(encode(hello_of(3, 1))), "not a range");
  refused(decode_hello(encode(hello_of(1, UINT64_MAX))), "not possible");
  Hello twice = hello_of(1, 1);
  twice.positions.push_back(twice.positions[0]);
  refused(decode_hello(encode(twice)), "twice");
  Hello unknown = hello_of(1, 1);
  unknown.positions[0].outbox_class = static_cast<OutboxClass>(9);
  refused(decode_hello(encode(unknown)), "class 9");

  sync::Batch batch = batch_of(1, 3);
  batch.entries[2].seq = 5;
  refused(decode_batch(encode(batch)), "consecutive");
  batch = batch_of(1, 2);
  batch.entries[0].seq = 0;
  refused(decode_batch(encode(batch)), "consecutive");
  batch = batch_of(1, 1);
  batch.entries[0].kind = static_cast<storage::EntryKind>(77);
  refused(decode_batch(encode(batch)), "kind 77");
  batch.entries.clear();
  refused(decode_batch(encode(batch)), "without entries");
  batch = batch_of(1, 1);
  batch.entries[0].subject.assign(kSubjectBytesMax + 1, 's');
  refused(decode_batch(encode(batch)), "subject");

  refused(decode_batch_reply(encode(BatchReply{static_cast<BatchOutcome>(9), 1, ""})), "outcome 9");
  refused(decode_batch_reply(encode(BatchReply{BatchOutcome::applied, UINT64_MAX, ""})), "not possible");
  refused(decode_hello_reply(encode(HelloReply{"bad name", {}, {}})), "node name");
  refused(decode_hello_reply(encode(HelloReply{"hub", {{OutboxClass::model, 1}, {OutboxClass::model, 2}}, {}})), "twice");
}

TEST_CASE("wire: random bytes behind a valid envelope never do harm") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 3000; ++round) {
    std::string payload;
    for (uint64_t n = random.below(64); n > 0; --n) payload += static_cast<char>(random.below(256));
    const std::string message = envelope(payload, static_cast<uint32_t>(random.chance(0.5) ? payload.size() : random.below(1 << 20)),
                                         static_cast<uint8_t>(random.below(2)));
    (void)decode_hello(message).ok();
    (void)decode_hello_reply(message).ok();
    (void)decode_batch(message).ok();
    (void)decode_batch_reply(message).ok();
  }
}

TEST_CASE("wire: a question about a range comes back as it was sent, and one that is too long is refused") {
  auto ask = decode_range_ask(encode(RangeAsk{"pump-1", 99, OutboxClass::label, 5, 9}));
  REQUIRE(ask.ok());
  CHECK(ask->node == "pump-1");
  CHECK(ask->epoch == 99);
  CHECK(ask->outbox_class == OutboxClass::label);
  CHECK(ask->first_seq == 5);
  CHECK(ask->last_seq == 9);
  auto reply = decode_range_reply(encode(RangeReply{5, 0xfedcba9876543210}));
  REQUIRE(reply.ok());
  CHECK(reply->count == 5);
  CHECK(reply->digest == 0xfedcba9876543210);
  CHECK(decode_range_ask(encode(RangeAsk{"pump-1", 99, OutboxClass::label, 1, kRangeMax})).ok());
  CHECK(decode_range_ask(encode(RangeAsk{"pump-1", 99, OutboxClass::label, 1, kRangeMax + 1})).error().code == Code::invalid);
  CHECK(decode_range_ask(encode(RangeAsk{"pump-1", 99, OutboxClass::label, 9, 5})).error().code == Code::invalid);
  CHECK(decode_range_ask(encode(RangeAsk{"pump-1", 99, OutboxClass::label, 0, 5})).error().code == Code::invalid);
  CHECK(decode_range_reply(encode(RangeReply{kRangeMax + 1, 1})).error().code == Code::invalid);
  CHECK(decode_range_ask(encode(RangeReply{1, 1})).error().code == Code::corrupt);
}

TEST_CASE("wire: how far back a node can go is between the first number and what waits") {
  auto hello = decode_hello(encode(Hello{"pump-1", 99, {{OutboxClass::telemetry, 4, 9, 2}, {OutboxClass::label, 4, 9}}, 0, {}, ""}));
  REQUIRE(hello.ok());
  CHECK(hello->positions[0].oldest() == 2);
  CHECK(hello->positions[1].oldest() == 4);
  CHECK(decode_hello(encode(Hello{"pump-1", 99, {{OutboxClass::telemetry, 4, 9, 5}}, 0, {}, ""})).error().code == Code::invalid);
}
