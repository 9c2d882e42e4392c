#include "storage/store.h"

#include <catch2/catch.hpp>
#include <limits>

#include "storage/sample_block.h"
#include "tests/storage/machine.h"
#include "tests/storage/make.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;

namespace {

struct Fixture : Machine {
  int64_t now() const { return clock.now_ns(); }
};

Result<Receipt> put(Fixture& f, Batch batch) {
  Effect effect;
  effect.batches.push_back(std::move(batch));
  return f.store->commit(effect);
}

}  // namespace

TEST_CASE("store: every field type and absent values are read back as written") {
  Fixture f;
  Batch batch = imu("pump-3", f.now(), 3);
  batch.columns = {{"d", std::vector<double>{1.5, -0.0, 1e300}, {}},
                   {"i", std::vector<int64_t>{INT64_MIN, 0, INT64_MAX}, {1, 0, 1}},
                   {"b", std::vector<uint8_t>{1, 0, 1}, {}},
                   {"s", std::vector<std::string>{"", std::string(70, 'x'), "\n\0"}, {1, 1, 0}}};
  std::get<1>(batch.columns[1].values)[1] = 0;
  std::get<3>(batch.columns[3].values)[2] = "";
  auto receipt = put(f, batch);
  REQUIRE(receipt.ok());
  CHECK(receipt->records == 3);
  for (int round = 0; round < 2; ++round) {
    auto back = f.store->read(batch.series, {}, 100);
    REQUIRE(back.ok());
    CHECK(*back == batch);
    f.start();
  }
}

TEST_CASE("store: late and out-of-order records are read in time order") {
  Fixture f;
  const int64_t t = f.now();
  REQUIRE(put(f, values("m", {{t + 50, 5}, {t + 10, 1}, {t + 30, 3}})).ok());
  REQUIRE(put(f, values("m", {{t + 20, 2}, {t + 40, 4}})).ok());
  REQUIRE(put(f, values("m", {{t - 7'200'000'000'000, 0}})).ok());
  CHECK(read_values(*f.store, "m", {}) == std::vector<double>{0, 1, 2, 3, 4, 5});
  CHECK(read_values(*f.store, "m", {t + 20, t + 50}) == std::vector<double>{2, 3, 4});
  CHECK(read_values(*f.store, "m", {t + 21, t + 40}) == std::vector<double>{3});
  CHECK(read_values(*f.store, "m", {}, 2) == std::vector<double>{0, 1});
  CHECK(read_values(*f.store, "m", {t + 60, t + 40}).empty());
}

TEST_CASE("store: the last write of a timestamp wins field by field") {
  Fixture f;
  const int64_t t = f.now();
  Batch first = values("m", {{t, 1}, {t + 1, 2}});
  first.columns.push_back({"note", std::vector<std::string>{"a", "b"}, {}});
  REQUIRE(put(f, first).ok());
  REQUIRE(put(f, values("m", {{t + 1, 20}, {t + 2, 30}, {t + 2, 31}})).ok());
  auto back = f.store->read({"m", {}}, {}, 100);
  REQUIRE(back.ok());
  REQUIRE(back->times == std::vector<int64_t>{t, t + 1, t + 2});
  CHECK(std::get<0>(back->column("v")->values) == std::vector<double>{1, 20, 31});
  const Column* note = back->column("note");
  CHECK(note->present == std::vector<uint8_t>{1, 1, 0});
  CHECK(std::get<3>(note->values)[1] == "b");
  auto only_note = f.store->read({"m", {}}, {}, 100, {"note"});
  REQUIRE(only_note.ok());
  CHECK(only_note->columns.size() == 1);
}

TEST_CASE("store: reads across block and hour borders agree with a plain map") {
  Fixture f;
  Random random(Catch::rngSeed());
  const int64_t t0 = f.now() - 4 * 3'600'000'000'000;
  std::map<int64_t, double> truth;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::pair<int64_t, double>> rows;
    const int64_t base = t0 + static_cast<int64_t>(random.below(4 * 3600)) * 1'000'000'000;
    for (uint64_t n = 1 + random.below(200); n > 0; --n) {
      rows.emplace_back(base + static_cast<int64_t>(random.below(3000)) * 500'000'000, random.uniform());
    }
    for (auto& [time, value] : rows) time = std::min(time, f.now());
    for (const auto& [time, value] : rows) truth[time] = value;
    REQUIRE(put(f, values("m", rows)).ok());
  }
  for (int round = 0; round < 50; ++round) {
    int64_t a = t0 + static_cast<int64_t>(random.below(14'400)) * 1'000'000'000,
            b = a + static_cast<int64_t>(random.below(7200)) * 1'000'000'000;
    const size_t limit = 1 + random.below(2000);
    std::vector<double> expected;
    for (auto it = truth.lower_bound(a); it != truth.end() && it->first < b && expected.size() < limit; ++it)
      expected.push_back(it->second);
    CHECK(read_values(*f.store, "m", {a, b}, limit) == expected);
  }
}

TEST_CASE("store: one invalid batch refuses the whole effect") {
  Fixture f;
  const int64_t t = f.now();
  REQUIRE(put(f, values("m", {{t, 1}})).ok());
  Effect effect;
  effect.batches.push_back(values("fresh", {{t, 1}}));
  Batch wrong = values("m", {{t + 1, 2}});
  wrong.columns[0].values = std::vector<std::string>{"two"};
  effect.batches.push_back(wrong);
  effect.notes.emplace_back("cursor", "7");
  effect.predictions.push_back(prediction("har", 1, "m", t, 2));
  auto refused = f.store->commit(effect);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Code::invalid);
  CHECK(refused.error().message.find("float64") != std::string::npos);
  CHECK(refused.error().message.find("string") != std::string::npos);
  CHECK(f.store->streams()->size() == 1);
  CHECK(!f.store->note("cursor")->has_value());
  CHECK(f.outbox(OutboxClass::telemetry).last_seq == 1);
  CHECK(f.store->live_score("har", 1) == LiveScore{});
  CHECK(f.store->prediction(PredictionId{1}).error().code == Code::not_found);
}

TEST_CASE("store: timestamps of 1970 and 2200 are refused with a remedy") {
  Fixture f;
  for (int64_t t : {int64_t{1'700'000'000}, int64_t{7'258'118'400'000'000'000}}) {
    auto refused = put(f, values("m", {{f.now(), 0}, {t, 1}}));
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::invalid);
    CHECK(refused.error().message.find("precision") != std::string::npos);
    CHECK(refused.error().message.find("record 1") != std::string::npos);
  }
  CHECK(f.store->streams()->empty());
  SECTION("but a node that does not know the time yet takes what does") {
    f.clock.jump_wall(-std::chrono::hours(24 * 365 * 30));
    CHECK(put(f, values("m", {{1'764'000'000'000'000'000, 1}})).ok());
  }
}

TEST_CASE("store: an unknown stream or field is not found, naming what there is") {
  Fixture f;
  REQUIRE(put(f, values("m", {{f.now(), 1}})).ok());
  CHECK(f.store->read({"n", {}}, {}, 1).error().code == Code::not_found);
  auto field = f.store->read({"m", {}}, {}, 1, {"w"});
  CHECK(field.error().code == Code::not_found);
  CHECK(field.error().message.find("it has v") != std::string::npos);
}

TEST_CASE("store: stream infos count records and know the first and last time") {
  Fixture f;
  f.options.streams = {{"slow*", Durability::batch, true}, {"*", Durability::os, true}};
  f.start();
  const int64_t t = f.now();
  REQUIRE(put(f, values("slow-one", {{t, 1}, {t - 5, 2}, {t, 3}})).ok());
  REQUIRE(put(f, values("fast", {{t, 1}})).ok());
  f.start();
  auto streams = f.store->streams();
  REQUIRE(streams->size() == 2);
  CHECK((*streams)[0].series.name == "fast");
  CHECK((*streams)[0].durability == Durability::os);
  CHECK((*streams)[1].durability == Durability::batch);
  CHECK((*streams)[1].records == 2);
  CHECK((*streams)[1].first_ns == t - 5);
  CHECK((*streams)[1].last_ns == t);
  CHECK((*streams)[1].fields == std::vector<std::pair<std::string, FieldType>>{{"v", FieldType::float64}});
}

TEST_CASE("store: the outbox offers what was committed in sequence and resolves it") {
  Fixture f;
  const int64_t t = f.now();
  Batch batch = imu("pump-3", t, 10);
  Effect effect;
  effect.batches.push_back(batch);
  effect.predictions.push_back(prediction("har", 3, batch.series.text(), t, 10));
  effect.outbox.push_back({OutboxClass::model, EntryKind::model_delta, "har/7", "delta"});
  auto receipt = f.store->commit(effect);
  REQUIRE(receipt.ok());
  Effect labelled;
  labelled.labels.push_back({});
  labelled.labels[0].prediction = receipt->predictions[0];
  labelled.labels[0].value = 1;
  REQUIRE(f.store->commit(labelled).ok());

  auto items = f.store->outbox_read(OutboxClass::telemetry, 1, 1 << 20);
  REQUIRE(items.ok());
  REQUIRE(items->size() == 2);
  CHECK((*items)[0].seq == 1);
  CHECK((*items)[0].subject == batch.series.text());
  CHECK((*items)[0].records == 10);
  CHECK((*items)[0].queued_ns == t);
  CHECK(*decode_block(batch.series, (*items)[0].payload) == batch);
  CHECK((*items)[1].kind == EntryKind::prediction);
  auto sent = decode_prediction((*items)[1].payload);
  REQUIRE(sent.ok());
  CHECK(sent->id == receipt->predictions[0]);
  CHECK(sent->label == -1);  // as queued: a repeated entry is the same bytes, whatever came since
  CHECK(f.outbox(OutboxClass::telemetry).bytes == (*items)[0].payload.size() + (*items)[1].payload.size());

  auto labels = f.store->outbox_read(OutboxClass::label, 1, 1);
  REQUIRE(labels->size() == 1);
  auto label = decode_label((*labels)[0].payload);
  CHECK(label->model == "har");
  CHECK(label->series == batch.series.text());
  CHECK(label->window == effect.predictions[0].window);
  auto delta = f.store->outbox_read(OutboxClass::model, 1, 1);
  REQUIRE(delta->size() == 1);
  CHECK((*delta)[0].payload == "delta");
  CHECK((*delta)[0].subject == "har/7");
}

TEST_CASE("store: streams that are not synced are not queued, nor are their predictions") {
  Fixture f;
  f.options.streams = {{"private*", Durability::interval, false}};
  f.start();
  Effect effect;
  effect.batches.push_back(values("private-a", {{f.now(), 1}}));
  effect.predictions.push_back(prediction("har", 1, "private-a", f.now(), 1));
  effect.predictions.push_back(prediction("har", 1, "", f.now(), 1));
  REQUIRE(f.store->commit(effect).ok());
  CHECK(f.outbox(OutboxClass::telemetry).last_seq == 1);
  CHECK(decode_prediction((*f.store->outbox_read(OutboxClass::telemetry, 1, 1))[0].payload)->series.empty());
  CHECK(f.store->live_score("har", 1).predictions == 2);
}

TEST_CASE("store: an outbox read is contiguous, bounded in bytes and gives at least one entry") {
  Fixture f;
  for (int i = 0; i < 10; ++i) {
    Effect effect;
    effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, std::to_string(i), std::string(100, 'a')});
    REQUIRE(f.store->commit(effect).ok());
  }
  auto seqs = [&](uint64_t from, uint64_t bytes) {
    std::vector<uint64_t> out;
    auto items = f.store->outbox_read(OutboxClass::alarm, from, bytes);
    REQUIRE(items.ok());
    for (const OutboxItem& item : *items) out.push_back(item.seq);
    return out;
  };
  CHECK(seqs(1, 0) == std::vector<uint64_t>{1});
  CHECK(seqs(3, 300) == std::vector<uint64_t>{3, 4, 5});
  CHECK(seqs(9, 1 << 20) == std::vector<uint64_t>{9, 10});
  CHECK(seqs(11, 1 << 20).empty());
  CHECK(seqs(UINT64_MAX, 1).empty());
}

TEST_CASE("store: acknowledged entries are trimmed after their grace, the rest stays exact") {
  Fixture f;
  f.options.acked_grace = std::chrono::minutes(5);
  f.start();
  for (int i = 0; i < 10; ++i) {
    Effect effect;
    effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, "s", std::string(10 + i, 'a')});
    REQUIRE(f.store->commit(effect).ok());
    f.clock.advance(std::chrono::seconds(1));
  }
  const int64_t start = f.now() - 10'000'000'000;
  CHECK(f.outbox(OutboxClass::alarm).oldest_ns == start);
  REQUIRE(f.store->outbox_acknowledge(OutboxClass::alarm, 4).ok());
  REQUIRE(f.store->outbox_acknowledge(OutboxClass::alarm, 2).ok());  // smaller: ignored
  CHECK(f.store->outbox_acknowledge(OutboxClass::alarm, 11).error().code == Code::invalid);
  for (int round = 0; round < 2; ++round) {
    OutboxStatus s = f.outbox(OutboxClass::alarm);
    CHECK(s.acked_seq == 4);
    CHECK(s.entries == 6);
    CHECK(s.bytes == 14 + 15 + 16 + 17 + 18 + 19);
    CHECK(s.oldest_ns == start + 4'000'000'000);
    CHECK(f.store->outbox_read(OutboxClass::alarm, 1, 1).ok());  // still there
    f.start();
  }
  f.clock.advance(std::chrono::minutes(6));
  f.store->step();
  auto gone = f.store->outbox_read(OutboxClass::alarm, 4, 1);
  REQUIRE(!gone.ok());
  CHECK(gone.error().code == Code::not_found);
  CHECK((*f.store->outbox_read(OutboxClass::alarm, 5, 1))[0].seq == 5);
  REQUIRE(f.store->outbox_acknowledge(OutboxClass::alarm, 10).ok());
  CHECK(f.outbox(OutboxClass::alarm).bytes == 0);
  CHECK(f.outbox(OutboxClass::alarm).oldest_ns == 0);
  f.start();
  Effect effect;
  effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, "s", "x"});
  REQUIRE(f.store->commit(effect).ok());
  CHECK(f.outbox(OutboxClass::alarm).last_seq == 11);  // never started over
  CHECK(f.outbox(OutboxClass::alarm).oldest_ns == f.now());
}

TEST_CASE("store: a new epoch is durable and leaves the sequences alone") {
  Fixture f;
  Effect effect;
  effect.outbox.push_back({OutboxClass::model, EntryKind::model_event, "s", "x"});
  REQUIRE(f.store->commit(effect).ok());
  const Identity before = f.store->identity();
  CHECK(before.epoch != 0);
  CHECK(before.node == "node");
  f.start();
  CHECK(f.store->identity().epoch == before.epoch);
  REQUIRE(f.store->begin_epoch().ok());
  const uint64_t after = f.store->identity().epoch;
  CHECK(after != before.epoch);
  f.start();
  CHECK(f.store->identity().epoch == after);
  CHECK(f.outbox(OutboxClass::model).last_seq == 1);
}

TEST_CASE("store: notes are set, replaced and deleted") {
  Fixture f;
  auto note = [&](const std::string& value) {
    Effect effect;
    effect.notes.emplace_back("cursor/har", value);
    REQUIRE(f.store->commit(effect).ok());
  };
  note("1");
  note("2");
  f.start();
  CHECK(f.store->note("cursor/har")->value() == "2");
  note("");
  CHECK(!f.store->note("cursor/har")->has_value());
}

TEST_CASE("store: a second process is told that the store is in use") {
  Fixture f;
  auto second = Store::open(f.options, f.clock);
  REQUIRE(!second.ok());
  CHECK(second.error().code == Code::unavailable);
  CHECK(second.error().message.find("in use by another process") != std::string::npos);
}
