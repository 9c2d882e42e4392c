// Rounds of label, train, promote in which the worker and the node die, or the worker misbehaves, at drawn instants.
#include <cstdlib>
#include <set>

#include "base/random.h"
#include "tests/learning/island.h"
#include "tests/support/small_disk.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::learning::test::Island;
using skerry::learning::test::write_result;
using storage::ModelState;

namespace {

int rounds_wanted() {
  const char* given = std::getenv("SKERRY_LEARNING_ROUNDS");
  return given != nullptr ? std::max(1, std::atoi(given)) : 20;
}

// What a worker may do to the daemon.
WorkerExit misbehave(Random& random, const std::filesystem::path& job) {
  switch (random.below(8)) {
    case 0: return {false, "killed by signal 9"};
    case 1: return {false, "exit code 5: no space left on device"};
    case 2:
      std::filesystem::create_directories(job / "result.tmp/package");
      return {false, "killed by signal 9: among its writes"};
    case 3:
      std::filesystem::create_directories(job / "result");
      REQUIRE(write_file_atomic(job / "result/report.json", "{\"gate\": 7}").ok());
      return {true, ""};
    case 4: return write_result(job, "nan", 0.7, 0.9);        // its weights are no numbers
    case 5: return write_result(job, "linear 2", 0.9, 0.7);   // it got worse
    default: return write_result(job, "linear 2", 0.7, 0.9);
  }
}

struct Hub {
  uint32_t version = 1;
  uint64_t acknowledged = 0;
  std::set<uint32_t> seen;
};

// The hub takes what waits, and each delta must lead on from what it has.
void receive(Island& island, Hub& hub) {
  auto items = island.store->outbox_read(storage::OutboxClass::model, hub.acknowledged + 1, 1 << 20);
  REQUIRE(items.ok());
  for (const storage::OutboxItem& item : *items) {
    auto delta = decode_delta(item.payload);
    REQUIRE(delta.ok());
    CHECK(delta->base_version == hub.version);
    CHECK(hub.seen.insert(delta->version).second);
    hub.version = delta->version;
    hub.acknowledged = item.seq;
  }
  REQUIRE(island.store->outbox_acknowledge(storage::OutboxClass::model, hub.acknowledged).ok());
}

void check_whole(Island& island, uint64_t labels_given) {
  auto versions = island.store->versions("toy");
  REQUIRE(versions.ok());
  int serving = 0;
  for (const storage::ModelVersion& version : *versions) {
    if (version.state != ModelState::serving) continue;
    ++serving;
    CHECK(island.engine->serving("toy") == version.version);
    CHECK(inference::Package::open(island.dir / "models" / "toy" / std::to_string(version.version), 1 << 28).ok());
  }
  CHECK(serving == 1);
  CHECK(island.store->labels("toy", 1'000'000)->size() == labels_given);
  std::set<int64_t> windows;
  for (const storage::Example& example : *island.store->examples("toy", 1'000'000)) CHECK(windows.insert(example.window.from_ns).second);
}

}  // namespace

TEST_CASE("learning: whatever dies or misbehaves, what serves is whole, and labels, examples and deltas are there once") {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    Island island;
    island.script.work = [&](const std::filesystem::path& job) { return misbehave(random, job); };
    island.package(1);
    island.start();
    Hub hub;
    uint64_t labels = 0;
    const int rounds = rounds_wanted();
    for (int round = 0; round < rounds; ++round) {
      const int64_t from = island.end_ns;
      island.feed(2);
      auto said = island.label(from == 0 ? island.begin_ns : from, island.end_ns, "high");
      REQUIRE(said.ok());
      labels += said->predictions;
      island.script.hangs = random.below(5) == 0;
      island.run(static_cast<int>(random.below(14)));
      if (random.below(3) > 0) island.start();  // the node dies with its worker, and comes back
      check_whole(island, labels);
      if (random.below(2) == 0) receive(island, hub);
    }
    island.script.hangs = false;
    island.script.work = [](const std::filesystem::path& job) { return write_result(job, "linear 2", 0.7, 0.9); };
    island.run(200);
    for (int i = 0; i < 3; ++i) {
      receive(island, hub);
      island.run(3);
    }
    check_whole(island, labels);
    CHECK(hub.version == island.engine->serving("toy"));
    CHECK(island.learner->status().state == "waiting");
    CHECK_FALSE(hub.seen.empty());
  }
}

TEST_CASE("learning: a full disk under the jobs is named, left as it was, and trained on once there is room") {
  Island island;
  auto disk = skerry::test::SmallDisk::make(island.options.jobs, 20);
  if (!disk) {
    WARN("skipped: no right to mount a small file system");
    return;
  }
  island.package(1);
  island.start();
  island.feed(40);  // 2000 windows: more than fit
  island.label_all();
  island.run(20);
  CHECK(island.script.started == 0);
  CHECK(island.learner->status().why.find("space") != std::string::npos);
  CHECK(std::filesystem::is_empty(island.options.jobs));
  CHECK(island.engine->serving("toy") == 1u);
  REQUIRE(disk->resize(4096));
  island.run(20);
  CHECK(island.engine->serving("toy") == 2u);
  island.stop();
}
