// The outbox on a stick: the real store, the real hub, the files' own bytes.
#include "sync/bundle.h"

#include "base/file.h"
#include "hub/bundles.h"
#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;

namespace {

struct Island {
  skerry::test::SimClock clock;
  skerry::test::FakeCloud cloud{clock};
  sync::test::Node node{clock, cloud};
  skerry::test::TempDir files;
  SigningKey key = SigningKey::make().value(), hub_key = SigningKey::make().value();
  hub::BundleOptions hub;

  Island() {
    hub = {.key = files / "hub.key", .trusted = files / "nodes.keys", .models = {}, .name = "hub"};
    REQUIRE(hub_key.write(hub.key).ok());
    REQUIRE(write_file_atomic(hub.trusted, "# nodes\npump-1 " + key.public_key() + "\n").ok());
    cloud.down();
  }
  std::string bundle(const BundleRequest& request = {}) {
    auto cut = cut_bundle(*node.store, request, clock);
    REQUIRE(cut.ok());
    auto file = pack(*cut, key);
    REQUIRE(file.ok());
    return *file;
  }
  Result<std::string> bring(const std::string& file) { return hub::take_bundle(cloud.receiver(), hub, clock, file); }
  Receipt brought(const std::string& file) {
    auto receipt = bring(file);
    INFO((receipt.ok() ? "" : receipt.error().message));
    REQUIRE(receipt.ok());
    auto read = unpack_receipt(*receipt);
    REQUIRE(read.ok());
    return *read;
  }
  ReceiptTaken take(const Receipt& receipt) {
    auto taken = take_receipt(*node.store, receipt);
    INFO((taken.ok() ? "" : taken.error().message));
    REQUIRE(taken.ok());
    return *taken;
  }
  // Restores this node's disk image.
  void image(const std::filesystem::path& from, const std::filesystem::path& to) {
    node.stop();
    std::filesystem::remove_all(to);
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
    node.start();
  }
};

}  // namespace

TEST_CASE("bundle: what is carried arrives once, and only the receipt acknowledges it") {
  Island island;
  island.node.ingest(300);
  island.node.queue(OutboxClass::alarm, "alarm/1");
  const std::string file = island.bundle();
  CHECK(island.node.acked() == 0);
  const Receipt receipt = island.brought(file);
  CHECK(island.cloud.received_once() == island.node.committed);
  CHECK(island.node.waiting() > 0);
  CHECK(island.take(receipt).problems.empty());
  CHECK(island.node.waiting() == 0);
}

TEST_CASE("bundle: carried twice, and late beside a link that works, it changes nothing") {
  Island island;
  island.node.ingest(100);
  const std::string old = island.bundle();
  const Receipt old_receipt = island.brought(old);
  island.node.ingest(100);
  island.cloud.up();
  REQUIRE(island.node.run_until_quiet());
  const uint64_t acked = island.node.acked();
  const Receipt again = island.brought(old);
  CHECK(island.take(old_receipt).acknowledged.empty());
  CHECK(island.take(again).acknowledged.empty());
  CHECK_FALSE(island.take(again).epoch_begins);
  CHECK(island.node.acked() == acked);
  CHECK(island.cloud.received_once() == island.node.committed);
  island.node.ingest(50);  // and the link goes on as before
  REQUIRE(island.node.run_until_quiet());
  CHECK(island.cloud.received_once() == island.node.committed);
}

TEST_CASE("bundle: the link comes back between the stick and its receipt") {
  Island island;
  island.node.ingest(100);
  const Receipt receipt = island.brought(island.bundle());
  island.node.ingest(100);
  island.cloud.up();
  REQUIRE(island.node.run_until_quiet());
  CHECK(island.take(receipt).acknowledged.empty());
  CHECK(island.cloud.received_once() == island.node.committed);
}

TEST_CASE("bundle: several files go in sequence; one without the one before it is refused as a gap, and heals") {
  Island island;
  for (int i = 0; i < 6; ++i) island.node.ingest(200, "imu{device=" + std::to_string(i) + "}");
  auto first = cut_bundle(*island.node.store, {.only = OutboxClass::telemetry, .after = {}, .bytes_max = 1}, island.clock);
  REQUIRE(first.ok());
  // The store gives what fits one message: the first file is made of the first entry alone.
  auto batch = decode_batch(first->batches.front());
  REQUIRE(batch.ok());
  REQUIRE(batch->entries.size() > 1);
  batch->entries.resize(1);
  first->batches = {encode(*batch)};
  const std::string one = pack(*first, island.key).value();
  const std::string two = island.bundle({.only = {}, .after = {{OutboxClass::telemetry, 1}}});
  const Receipt early = island.brought(two);
  REQUIRE(early.classes.size() == 1);
  CHECK(early.classes[0].verified == 0);
  CHECK(early.classes[0].problem.find("bring the bundle before it") != std::string::npos);
  CHECK(island.take(early).acknowledged.empty());
  CHECK(island.take(island.brought(one)).acknowledged.at(OutboxClass::telemetry) == 1);
  (void)island.take(island.brought(two));
  CHECK(island.node.waiting() == 0);
  CHECK(island.cloud.received_once() == island.node.committed);
}

TEST_CASE("bundle: what a rule lost travels as a loss, and the hub counts it") {
  Island island;
  island.node.outbox_rules = {{.outbox_class = OutboxClass::telemetry, .ttl = std::chrono::hours(1)}};
  island.node.restart();
  island.node.ingest(100);
  island.clock.advance(std::chrono::hours(3));
  island.node.trim();
  island.node.ingest(50, "imu{device=b}");
  (void)island.take(island.brought(island.bundle()));
  CHECK(island.node.waiting() == 0);
  const auto nodes = island.cloud.receiver().nodes();
  REQUIRE(nodes.ok());
  REQUIRE(nodes->size() == 1);
  CHECK(nodes->front().dropped.size() == 1);
  CHECK(nodes->front().records == 50);
}

TEST_CASE("bundle: a file that is cut, changed, foreign or of nobody is refused, and nothing is applied") {
  Island island;
  island.node.ingest(50);
  const std::string file = island.bundle();
  for (size_t size = 0; size < file.size(); size += std::max<size_t>(1, file.size() / 97)) {
    CAPTURE(size);
    CHECK_FALSE(island.bring(file.substr(0, size)).ok());
  }
  for (size_t at = 0; at < file.size(); at += std::max<size_t>(1, file.size() / 211)) {
    CAPTURE(at);
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    CHECK_FALSE(island.bring(changed).ok());
  }
  CHECK_FALSE(island.bring(file + "x").ok());
  const auto cut = cut_bundle(*island.node.store, {}, island.clock);
  const auto stranger = island.bring(pack(*cut, SigningKey::make().value()).value());
  REQUIRE_FALSE(stranger.ok());
  CHECK(stranger.error().message.find("does not trust the key") != std::string::npos);
  REQUIRE(write_file_atomic(island.hub.trusted, "pump-2 " + island.key.public_key() + "\n").ok());  // a key of another node
  CHECK_FALSE(island.bring(file).ok());
  CHECK(island.cloud.receiver().nodes()->empty());
}

TEST_CASE("bundle: a receipt for another node, an ended epoch, or a changed one acknowledges nothing") {
  Island island;
  island.node.ingest(50);
  const std::string file = island.bring(island.bundle()).value();
  for (size_t at = 0; at < file.size(); ++at) {
    CAPTURE(at);
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK_FALSE(unpack_receipt(changed).ok());
  }
  const Receipt receipt = unpack_receipt(file).value();
  Receipt other = receipt;
  other.head.node = "pump-2";
  CHECK_FALSE(take_receipt(*island.node.store, other).ok());
  other = receipt;
  other.classes[0].verified = other.classes[0].watermark = 1000;
  CHECK_FALSE(take_receipt(*island.node.store, other).ok());
  REQUIRE(island.node.store->begin_epoch().ok());
  CHECK_FALSE(take_receipt(*island.node.store, receipt).ok());
  CHECK(island.node.acked() == 0);
}

TEST_CASE("bundle: an old disk image that queued other entries since is fenced by a new epoch; each record arrives once") {
  Island island;
  island.node.ingest(100);
  (void)island.take(island.brought(island.bundle()));
  island.image(island.node.dir / "store", island.files / "image");
  std::set<std::string> before = island.node.committed;
  island.node.ingest(100, "imu{device=lost}");
  (void)island.brought(island.bundle());                    // the hub has it...
  island.image(island.files / "image", island.node.dir / "store");  // ...and the node goes back
  const std::set<std::string> lost_here = island.node.committed;
  island.node.ingest(100, "imu{device=new}");
  const Receipt receipt = island.brought(island.bundle());
  REQUIRE(receipt.classes.size() == 1);
  CHECK(receipt.classes[0].other_history);
  CHECK(island.take(receipt).epoch_begins);
  const uint64_t epoch = island.node.store->identity().epoch;
  for (int i = 0; i < 3; ++i) island.clock.advance(island.node.syncer->step());
  CHECK(island.node.store->identity().epoch != epoch);
  (void)island.take(island.brought(island.bundle()));
  CHECK(island.node.waiting() == 0);
  CHECK(island.cloud.received_once() == island.node.committed);
}

TEST_CASE("bundle: of an epoch that has ended at the hub only what it holds counts, the rest goes under a new one") {
  Island island;
  island.node.ingest(100);
  (void)island.brought(island.bundle());  // its receipt is lost
  island.node.ingest(100, "imu{device=b}");
  const std::string late = island.bundle();
  const storage::Identity identity = island.node.store->identity();
  REQUIRE(island.cloud.receiver().range({.node = identity.node, .epoch = identity.epoch, .ends_epoch = true}).ok());
  const Receipt receipt = island.brought(late);
  CHECK_FALSE(receipt.classes.at(0).problem.empty());
  const ReceiptTaken taken = island.take(receipt);
  CHECK(taken.epoch_begins);
  CHECK_FALSE(taken.acknowledged.empty());
  for (int i = 0; i < 3; ++i) island.clock.advance(island.node.syncer->step());
  CHECK(island.node.store->identity().epoch != identity.epoch);
  (void)island.take(island.brought(island.bundle()));
  (void)island.brought(late);
  CHECK(island.node.waiting() == 0);
  CHECK(island.cloud.received_once() == island.node.committed);
}

TEST_CASE("bundle: a hub without keys says which options it needs; one that was restarted takes the same file") {
  Island island;
  island.node.ingest(50);
  const std::string file = island.bundle();
  hub::BundleOptions none;
  CHECK(hub::take_bundle(island.cloud.receiver(), none, island.clock, file).error().message.find("--bundle-key") != std::string::npos);
  island.cloud.restart();
  (void)island.take(island.brought(file));
  CHECK(island.node.waiting() == 0);
}

TEST_CASE("bundle: a key is not overwritten, and what is no key is named") {
  skerry::test::TempDir dir;
  const SigningKey key = SigningKey::make().value();
  REQUIRE(key.write(dir / "k").ok());
  CHECK_FALSE(key.write(dir / "k").ok());
  CHECK(SigningKey::read(dir / "k").value().public_key() == key.public_key());
  REQUIRE(write_file_atomic(dir / "bad", "-----BEGIN PRIVATE KEY-----\nnonsense\n").ok());
  CHECK(SigningKey::read(dir / "bad").error().message.find("skerry bundle keygen") != std::string::npos);
  REQUIRE(write_file_atomic(dir / "trusted", "pump-1 abc\n").ok());
  CHECK(TrustedKeys::read(dir / "trusted").error().message.find("line 1") != std::string::npos);
}
