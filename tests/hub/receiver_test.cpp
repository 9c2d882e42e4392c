#include "hub/receiver.h"

#include <catch2/catch.hpp>

#include <set>
#include <thread>

#include "storage/record_format.h"
#include "storage/sample_block.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::hub;
using storage::OutboxClass;
using sync::BatchOutcome;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

storage::OutboxItem item(uint64_t seq) {
  skerry::Batch batch;
  batch.series = {"imu", {}};
  batch.times = {static_cast<int64_t>(seq) * 10, static_cast<int64_t>(seq) * 10 + 1};
  batch.columns.push_back({"v", std::vector<double>{1, 2}, {}});
  return {seq, storage::EntryKind::samples, "imu", storage::encode_block(batch), 2, 5};
}

sync::Batch batch_of(uint64_t first, uint64_t last, const std::string& node = "pump-1", uint64_t epoch = 7) {
  sync::Batch batch{node, epoch, OutboxClass::telemetry, {}};
  for (uint64_t seq = first; seq <= last; ++seq) batch.entries.push_back(item(seq));
  return batch;
}

sync::Hello hello_of(uint64_t first, uint64_t last, const std::string& node = "pump-1", uint64_t epoch = 7) {
  return {.node = node, .epoch = epoch, .positions = {{OutboxClass::telemetry, first, last}}, .backlog_bytes = 42, .models = {"har/3 serving"}, .software = "t"};
}

struct Hub {
  SimClock clock;
  TempDir dir;
  ReceiverOptions options;
  std::unique_ptr<Receiver> receiver;

  Hub() {
    options.path = dir / "hub";
    options.file_system = test::hasty_file_system();
    open();
  }
  void open() {
    receiver.reset();
    auto opened = Receiver::open(options, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    receiver = std::move(*opened);
  }
  uint64_t hello(const sync::Hello& message) {
    auto reply = receiver->hello(message);
    REQUIRE(reply.ok());
    for (const auto& w : reply->watermarks) {
      if (w.outbox_class == OutboxClass::telemetry) return w.seq;
    }
    FAIL("no watermark");
    return 0;
  }
  std::pair<BatchOutcome, uint64_t> apply(const sync::Batch& batch) {
    auto reply = receiver->apply(batch);
    INFO((reply.ok() ? "" : reply.error().message));
    REQUIRE(reply.ok());
    return {reply->outcome, reply->watermark};
  }
  std::vector<std::pair<uint64_t, uint64_t>> held(EntryPosition after = {}, const std::string& node = "pump-1") const {
    std::vector<std::pair<uint64_t, uint64_t>> all;
    REQUIRE(receiver->entries(node, OutboxClass::telemetry, [&](uint64_t epoch, const storage::OutboxItem& i) {
      CHECK((i.payload == item(i.seq).payload || i.payload == "garbage"));
      all.emplace_back(epoch, i.seq);
      return true;
    }, after).ok());
    return all;
  }
  NodeInfo info() const {
    const auto nodes = receiver->nodes();
    REQUIRE(nodes.ok());
    return nodes->at(0);
  }
};

using Outcome = std::pair<BatchOutcome, uint64_t>;
using Held = std::vector<std::pair<uint64_t, uint64_t>>;

}  // namespace

TEST_CASE("hub: a batch is applied if and only if it continues what is held") {
  Hub hub;
  CHECK(hub.apply(batch_of(1, 2)) == Outcome{BatchOutcome::unknown_epoch, 0});
  CHECK(hub.hello(hello_of(1, 9)) == 0);
  CHECK(hub.apply(batch_of(1, 3)) == Outcome{BatchOutcome::applied, 3});
  CHECK(hub.apply(batch_of(1, 3)) == Outcome{BatchOutcome::duplicate, 3});
  CHECK(hub.apply(batch_of(2, 2)) == Outcome{BatchOutcome::duplicate, 3});
  CHECK(hub.apply(batch_of(5, 6)) == Outcome{BatchOutcome::gap, 3});
  CHECK(hub.apply(batch_of(3, 5)) == Outcome{BatchOutcome::applied, 5});  // only 4 and 5 are new
  CHECK(hub.apply(batch_of(6, 6)) == Outcome{BatchOutcome::applied, 6});
  CHECK(hub.held() == Held{{7, 1}, {7, 2}, {7, 3}, {7, 4}, {7, 5}, {7, 6}});
  CHECK(hub.info().entries == 6);
  CHECK(hub.info().records == 12);
  CHECK(hub.info().duplicates == 5);
  CHECK(hub.hello(hello_of(7, 9)) == 6);
}

TEST_CASE("hub: each class has a sequence of its own") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  sync::Batch labels = batch_of(1, 1);
  labels.outbox_class = OutboxClass::label;
  CHECK(hub.apply(batch_of(1, 4)).second == 4);
  CHECK(hub.apply(labels) == Outcome{BatchOutcome::applied, 1});
  CHECK(hub.held().size() == 4);
}

TEST_CASE("hub: an unknown epoch asks for a HELLO, and a new one starts where the node's outbox starts") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  hub.apply(batch_of(1, 9));
  CHECK(hub.apply(batch_of(5, 9, "pump-1", 8)).first == BatchOutcome::unknown_epoch);
  CHECK(hub.hello(hello_of(5, 9, "pump-1", 8)) == 4);
  CHECK(hub.info().epoch == 8);
  CHECK(hub.info().epochs == 2);
  CHECK(hub.info().lost == 0);
  CHECK(hub.apply(batch_of(5, 6, "pump-1", 8)) == Outcome{BatchOutcome::applied, 6});
  CHECK(hub.held().size() == 11);
  CHECK(hub.held().back() == std::pair<uint64_t, uint64_t>{8, 6});
  // The older epoch is still known: a batch of it that was under way is judged by its own watermark.
  CHECK(hub.apply(batch_of(9, 9)) == Outcome{BatchOutcome::duplicate, 9});
}

TEST_CASE("hub: epochs are listed in the order in which they began, whatever their numbers, and pages continue across them") {
  Hub hub;
  hub.hello(hello_of(1, 2, "pump-1", 900));
  hub.apply(batch_of(1, 2, "pump-1", 900));
  hub.hello(hello_of(1, 2, "pump-1", 5));
  hub.apply(batch_of(1, 2, "pump-1", 5));
  CHECK(hub.held() == Held{{900, 1}, {900, 2}, {5, 1}, {5, 2}});
  CHECK(hub.held({900, 1}) == Held{{900, 2}, {5, 1}, {5, 2}});
  CHECK(hub.held({900, 2}) == Held{{5, 1}, {5, 2}});
  CHECK(hub.held({5, 2}).empty());
  CHECK(hub.receiver->entries("pump-1", OutboxClass::telemetry, [](uint64_t, const auto&) { return true; }, {6, 1}).error().code == Code::not_found);
  CHECK(hub.receiver->entries("nobody", OutboxClass::telemetry, [](uint64_t, const auto&) { return true; }).error().code == Code::not_found);
}

TEST_CASE("hub: nodes whose names begin alike are kept apart") {
  Hub hub;
  for (const char* name : {"pump", "pump-1", "pump-10"}) {
    hub.hello(hello_of(1, 3, name));
    hub.apply(batch_of(1, 3, name));
  }
  CHECK(hub.held({}, "pump").size() == 3);
  CHECK(hub.held({}, "pump-1").size() == 3);
  CHECK(hub.receiver->nodes()->size() == 3);
}

TEST_CASE("hub: what it lost is a range in the books, and the watermark moves to what the node still has") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  hub.apply(batch_of(1, 3));
  auto reply = hub.receiver->hello(hello_of(8, 12));  // the node trimmed up to 7
  REQUIRE(reply.ok());
  REQUIRE(reply->losses.size() == 1);
  CHECK(reply->losses[0].first_seq == 4);
  CHECK(reply->losses[0].last_seq == 7);
  CHECK(hub.info().lost == 4);
  CHECK(hub.apply(batch_of(8, 12)) == Outcome{BatchOutcome::applied, 12});
  CHECK(hub.receiver->hello(hello_of(13, 12))->losses.empty());
  CHECK(hub.info().losses.size() == 1);
}

TEST_CASE("hub: everything is there after a restart") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  hub.apply(batch_of(1, 5));
  hub.open();
  CHECK(hub.hello(hello_of(1, 9)) == 5);
  CHECK(hub.apply(batch_of(4, 6)) == Outcome{BatchOutcome::applied, 6});
  CHECK(hub.held().size() == 6);
  CHECK(hub.info().models == std::vector<std::string>{"har/3 serving"});
  CHECK(hub.info().backlog_bytes == 42);
}

TEST_CASE("hub: a second process on the same folder is told so") {
  Hub hub;
  auto second = Receiver::open(hub.options, hub.clock);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == Code::unavailable);
  CHECK(second.error().message.find("in use") != std::string::npos);
}

TEST_CASE("hub: an unreadable payload is kept, counted, and does not stop the sequence") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  sync::Batch batch = batch_of(1, 3);
  batch.entries[1].payload = "garbage";
  CHECK(hub.apply(batch) == Outcome{BatchOutcome::applied, 3});
  CHECK(hub.info().quarantined == 1);
  CHECK(hub.held().size() == 3);
  hub.apply(batch);
  CHECK(hub.info().quarantined == 1);  // repeated, not counted again
}

TEST_CASE("hub: payloads are checked by their kind") {
  storage::Prediction prediction;
  prediction.model = "har";
  storage::Label label;
  label.model = "har";
  using storage::EntryKind;
  CHECK(check_payload(item(1)).ok());
  CHECK(check_payload({1, EntryKind::prediction, "", storage::encode(prediction)}).ok());
  CHECK(check_payload({1, EntryKind::label, "", storage::encode(label)}).ok());
  CHECK_FALSE(check_payload({1, EntryKind::prediction, "", "x"}).ok());
  CHECK_FALSE(check_payload({1, EntryKind::label, "", "x"}).ok());
  CHECK_FALSE(check_payload({1, EntryKind::samples, "imu{", item(1).payload}).ok());
  CHECK_FALSE(check_payload({1, EntryKind::samples, "imu", "x"}).ok());
  CHECK_FALSE(check_payload({7, EntryKind::model_delta, "har/2", "x"}).ok());
  CHECK(check_payload({7, EntryKind::model_delta, "har/2", "x"}).error().message.find("model_delta 7") != std::string::npos);
}

TEST_CASE("hub: batches that no node would make are refused whole") {
  Hub hub;
  hub.hello(hello_of(1, 9));
  sync::Batch torn = batch_of(1, 3);
  torn.entries[2].seq = 9;
  CHECK(hub.receiver->apply(torn).error().code == Code::invalid);
  CHECK(hub.receiver->apply({"pump-1", 7, OutboxClass::telemetry, {}}).error().code == Code::invalid);
  CHECK(hub.receiver->apply(batch_of(1, 1, "../etc")).error().code == Code::invalid);
  CHECK(hub.held().empty());
}

TEST_CASE("hub: invented names and epochs fill no disk") {
  Hub hub;
  hub.options.nodes_max = 2;
  hub.options.epochs_per_node_max = 3;
  hub.open();
  hub.hello(hello_of(1, 1, "a"));
  hub.hello(hello_of(1, 1, "b"));
  CHECK(hub.receiver->hello(hello_of(1, 1, "c")).error().code == Code::exhausted);
  hub.hello(hello_of(1, 1, "a", 8));
  hub.hello(hello_of(1, 1, "a", 9));
  CHECK(hub.receiver->hello(hello_of(1, 1, "a", 10)).error().code == Code::exhausted);
  CHECK(hub.hello(hello_of(1, 1, "a", 8)) == 0);
}

TEST_CASE("hub: what it answered survives a power cut") {
  SimClock clock;
  TempDir dir;
  test::FaultFs faults;
  const ReceiverOptions options{.path = dir / "hub", .name = "hub", .file_system = faults.file_system()};
  auto receiver = Receiver::open(options, clock);
  REQUIRE(receiver.ok());
  REQUIRE((*receiver)->hello(hello_of(1, 9)).ok());
  for (uint64_t seq = 1; seq <= 20; ++seq) {
    REQUIRE((*receiver)->apply(batch_of(seq, seq)).ok());
    if (seq % 5 != 0) continue;
    faults.cut_power();
    receiver->reset();
    faults.restore_power();
    receiver = Receiver::open(options, clock);
    REQUIRE(receiver.ok());
    auto reply = (*receiver)->apply(batch_of(seq, seq));
    REQUIRE(reply.ok());
    CHECK(reply->outcome == BatchOutcome::duplicate);
    CHECK(reply->watermark == seq);
  }
}

TEST_CASE("hub: a full disk answers exhausted, moves no watermark, and heals when there is space") {
  SimClock clock;
  TempDir dir;
  test::FaultFs faults;
  auto receiver = Receiver::open({.path = dir / "hub", .name = "hub", .file_system = faults.file_system()}, clock);
  REQUIRE(receiver.ok());
  REQUIRE((*receiver)->hello(hello_of(1, 9)).ok());
  REQUIRE((*receiver)->apply(batch_of(1, 2)).ok());
  faults.set_space_left(10);
  auto full = (*receiver)->apply(batch_of(3, 4));
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().code == Code::exhausted);
  CHECK_FALSE((*receiver)->apply(batch_of(3, 4)).ok());
  const auto nodes = (*receiver)->nodes();  // reads go on
  REQUIRE(nodes.ok());
  CHECK(nodes->at(0).entries == 2);
  faults.lift_space();
  auto healed = (*receiver)->apply(batch_of(3, 4));
  for (int i = 0; i < 300 && !healed.ok(); ++i) {  // RocksDB looks for space every five seconds
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    healed = (*receiver)->apply(batch_of(3, 4));
  }
  INFO((healed.ok() ? "" : healed.error().message));
  REQUIRE(healed.ok());
  CHECK(healed->watermark == 4);
}

TEST_CASE("hub: many nodes and repeated batches from many threads are each applied once") {
  Hub hub;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&hub, t] {
      const std::string node = "node-" + std::to_string(t / 2);  // two threads per node, as a repeated request may overlap the first
      (void)hub.receiver->hello(hello_of(1, 50, node));
      for (uint64_t seq = 1; seq <= 50; ++seq) {
        while (true) {
          auto reply = hub.receiver->apply(batch_of(seq, seq, node));
          if (reply.ok() && reply->outcome != BatchOutcome::gap) break;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto nodes = hub.receiver->nodes();
  REQUIRE(nodes.ok());
  for (const auto& node : *nodes) {
    CHECK(node.entries == 50);
    CHECK(node.duplicates == 50);
    CHECK(hub.held({}, node.node).size() == 50);
  }
}
