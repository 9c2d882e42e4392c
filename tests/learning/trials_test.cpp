// From the gate to serving and back: shadow, canary, rollback, pin, deltas that wait, and the decision log; over restarts.
#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using namespace std::chrono_literals;
using skerry::learning::test::Island;
using skerry::learning::test::write_result;
using storage::ModelState;

namespace {

void teach(Island& island) {
  island.feed(8);
  island.label_all();
}

bool decided(Island& island, const std::string& step, const std::string& outcome) {
  for (const Decision& d : island.models->decisions().newest("toy", 100)) {
    if (d.step == step && d.outcome == outcome && !d.reason.empty() && d.at_ns > 0) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("trials: a candidate waits as shadow for windows, as canary for labels, and serves over a restart in each") {
  Island island;
  island.rollout.shadow_windows = 900;
  island.rollout.shadow_time = 240h;
  island.rollout.canary_share = 0.3;
  island.rollout.canary_labels = 20;
  island.rollout.canary_time = 2400h;
  island.package(1);
  island.start();
  teach(island);
  island.run(10);
  REQUIRE(island.version(2).state == ModelState::shadow);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.deltas().empty());
  CHECK(island.learner->status().why.find("shadow") != std::string::npos);

  island.start();  // the shadow goes on where it was
  for (int i = 0; i < 6; ++i) {
    island.feed(4);
    island.run(2);
  }
  REQUIRE(island.version(2).state == ModelState::canary);
  CHECK(decided(island, "shadow", "passed"));

  island.start();
  island.run(1);
  const int64_t from = island.end_ns;
  island.feed(8);
  auto answered = island.store->predictions("toy", island.series.text(), {from, island.end_ns}, 10'000);
  REQUIRE(answered.ok());
  const auto canary = std::count_if(answered->begin(), answered->end(), [](const auto& p) { return p.version == 2; });
  CHECK(canary > static_cast<long>(answered->size()) * 2 / 10);
  CHECK(canary < static_cast<long>(answered->size()) * 4 / 10);
  REQUIRE(island.label(from, island.end_ns, "high").ok());
  island.run(4);
  CHECK(island.version(2).state == ModelState::serving);
  CHECK_FALSE(island.engine->trial("toy").has_value());
  CHECK(island.deltas().size() == 1);
  CHECK(island.learner->status().promoted == 1);
}

TEST_CASE("trials: a canary whose labelled answers are worse is taken back") {
  Island island;
  island.rollout.canary_share = 0.3;
  island.rollout.canary_labels = 200;
  island.script.work = [](const auto& job) { return write_result(job, "linear -1", 0.7, 0.9); };  // answers the first class
  island.rollout.shadow_agreement_min = 0;
  island.package(1);
  island.start();
  teach(island);
  island.run(10);
  REQUIRE(island.version(2).state == ModelState::canary);
  const int64_t from = island.end_ns;
  island.feed(4);
  REQUIRE(island.label(from, island.end_ns, "high").ok());
  island.run(2);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("worse by") != std::string::npos);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK((!island.engine->trial("toy") || island.engine->trial("toy")->version != 2));  // the same labels may have made another
  CHECK(island.deltas().empty());
}

TEST_CASE("trials: a shadow that answers otherwise than what serves is refused") {
  Island island;
  island.script.work = [](const auto& job) { return write_result(job, "linear -1", 0.7, 0.9); };
  island.package(1);
  island.start();
  teach(island);
  island.run(10);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("like the serving version") != std::string::npos);
  CHECK(decided(island, "gate", "passed"));
  CHECK(decided(island, "shadow", "refused"));
}

TEST_CASE("trials: a version that answers worse than its predecessor would have is rolled back, and not when both are wrong") {
  Island island;
  island.rollout.shadow_windows = 0;
  island.script.work = [](const auto& job) { return write_result(job, "linear -1", 0.7, 0.9); };
  island.package(1);
  island.start();
  teach(island);
  island.run(10);
  REQUIRE(island.engine->serving("toy") == 2u);
  const int64_t from = island.end_ns;
  island.feed(8);

  SECTION("worse") {
    island.learner->status();
    REQUIRE(island.label(from, from + 6'000'000'000, "high").ok());
    island.start();  // what is known of it outlives a restart
    island.run(3);
    CHECK(island.engine->serving("toy") == 1u);
    CHECK(island.version(2).state == ModelState::rejected);
    CHECK(island.version(2).reason.find("predecessor") != std::string::npos);
    CHECK(decided(island, "rollback", "back"));
    CHECK(island.learner->status().rolled_back == 1);
  }
  SECTION("both wrong") {
    REQUIRE(island.label(from, from + 6'000'000'000, "middle").ok());
    island.run(1);
    CHECK(island.engine->serving("toy") == 2u);
    CHECK(island.learner->watch().watched("toy").counts.examples > 50);
  }
  SECTION("pinned by hand") {
    island.script.hangs = true;  // the labels start another job: it shall not end in between
    REQUIRE(island.models->pin("toy", 0, "I know better").ok());
    REQUIRE(island.label(from, from + 6'000'000'000, "high").ok());
    island.run(1);
    CHECK(island.engine->serving("toy") == 2u);
    CHECK(island.models->rollback("toy", "").error().message.find("unpin") != std::string::npos);
    REQUIRE(island.models->unpin("toy", "").ok());
    CHECK(island.models->unpin("toy", "").error().code == Code::not_found);
    island.run(8);
    CHECK(island.engine->serving("toy") == 1u);
    CHECK(decided(island, "rollback", "back"));
  }
}

TEST_CASE("trials: while one delta is under way, the next ones become one, that leads on from it") {
  Island island;
  island.package(1);
  island.start();
  for (uint32_t round = 2; round <= 5; ++round) {
    teach(island);
    island.run(12);
    REQUIRE(island.engine->serving("toy") == round);
  }
  REQUIRE(island.deltas().size() == 1);
  CHECK(decode_delta(island.deltas()[0].payload)->version == 2);
  REQUIRE(island.store->outbox_acknowledge(storage::OutboxClass::model, 1).ok());
  island.start();
  island.run(1);
  auto items = island.store->outbox_read(storage::OutboxClass::model, 2, 1 << 20);
  REQUIRE(items.ok());
  REQUIRE(items->size() == 1);
  auto delta = decode_delta((*items)[0].payload);
  REQUIRE(delta.ok());
  CHECK((*items)[0].subject == "toy/5");
  CHECK(delta->base_version == 2);
  CHECK(delta->version == 5);
  CHECK(delta->tensors.size() == 3);  // one per round, in order

  REQUIRE(island.store->outbox_acknowledge(storage::OutboxClass::model, 2).ok());
  island.run(5);
  CHECK(island.store->outbox_status()[2].last_seq == 2);  // nothing is sent twice
  REQUIRE(island.models->rollback("toy", "by hand").ok());
  teach(island);
  island.run(12);
  REQUIRE(island.engine->serving("toy") == 6u);
  delta = decode_delta(island.store->outbox_read(storage::OutboxClass::model, 3, 1 << 20)->at(0).payload);
  REQUIRE(delta.ok());
  CHECK(delta->base_version == 2);  // the hub has never seen 4 by itself: it is told what serves again
  CHECK(delta->version == 4);
  REQUIRE(island.store->outbox_acknowledge(storage::OutboxClass::model, 3).ok());
  island.run(1);
  delta = decode_delta(island.store->outbox_read(storage::OutboxClass::model, 4, 1 << 20)->at(0).payload);
  REQUIRE(delta.ok());
  CHECK(delta->base_version == 4);
  CHECK(delta->version == 6);
}

TEST_CASE("trials: what rounding left over goes into the next job, of the version that serves") {
  Island island;
  island.package(1);
  island.start();
  for (uint32_t round = 2; round <= 3; ++round) {
    teach(island);
    island.run(12);
    REQUIRE(island.engine->serving("toy") == round);
  }
  REQUIRE(island.script.jobs.size() == 2);
  CHECK_FALSE(std::filesystem::exists(island.script.jobs[0] / kResidualFile));
  auto residual = decode_delta(*read_file(island.script.jobs[1] / kResidualFile, 1 << 20));
  REQUIRE(residual.ok());
  CHECK(residual->version == 2);
  CHECK(residual->tensors.at(0).values.at(0) == 2);
}

TEST_CASE("trials: a version promoted by hand ends its trial, and its delta goes out") {
  Island island;
  island.rollout.shadow_windows = 100'000;
  island.rollout.shadow_time = 2400h;
  island.package(1);
  island.start();
  teach(island);
  island.run(10);
  REQUIRE(island.version(2).state == ModelState::shadow);
  REQUIRE(island.models->promote("toy", 2, "no patience").ok());
  island.run(2);
  CHECK(island.version(2).state == ModelState::serving);
  CHECK(island.learner->status().trials.empty());
  CHECK(island.deltas().size() == 1);
}

TEST_CASE("decisions: the newest are kept, newest first, over restarts") {
  Island island;
  island.package(1);
  island.start();
  for (int i = 0; i < 600; ++i) REQUIRE(island.models->decisions().write({0, i % 2 ? "toy" : "other", 1, "pin", "pinned", std::to_string(i)}).ok());
  island.start();
  auto newest = island.models->decisions().newest("", 3);
  REQUIRE(newest.size() == 3);
  CHECK(newest[0].reason == "599");
  CHECK(island.models->decisions().newest("toy", 10'000).size() <= kDecisionsKept / 2 + 1);
  CHECK(island.models->decisions().newest("", 10'000).size() >= kDecisionsKept - 1);
}
