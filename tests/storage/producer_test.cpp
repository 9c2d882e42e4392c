// Effects of a producer that numbers them: each counts once, whatever is repeated and whenever the power goes.
#include <catch2/catch.hpp>
#include <map>
#include <memory>

#include "storage/internal/producers.h"
#include "storage/store.h"
#include "tests/storage/machine.h"
#include "tests/storage/make.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;

namespace {

struct Site : Machine {
  Site() : Machine({{"slow", Durability::interval, true}, {"*", Durability::batch, true}}) {}
  // One record and a prediction: a second one would show in both.
  Effect effect(const std::string& producer, uint64_t seq, const std::string& series = "fast") const {
    Effect e;
    e.batches.push_back(values(series, {{clock.now_ns() + static_cast<int64_t>(seq), static_cast<double>(seq)}}));
    e.predictions.push_back(prediction("har", 1, series, clock.now_ns(), 1));
    e.producer = Producer{producer, seq};
    return e;
  }
  bool duplicate(const Effect& e) {
    auto receipt = store->commit(e);
    INFO((receipt.ok() ? "" : receipt.error().message));
    REQUIRE(receipt.ok());
    if (receipt->duplicate) {
      CHECK(receipt->records == 0);
      CHECK(receipt->predictions.empty());
    }
    return receipt->duplicate;
  }
  uint64_t counted() const { return store->live_score("har", 1).predictions; }
  uint64_t queued() const { return outbox(OutboxClass::telemetry).last_seq; }
};

}  // namespace

TEST_CASE("producer: a repeated effect counts once, a gap is allowed, and producers do not disturb each other") {
  Site m;
  CHECK_FALSE(m.duplicate(m.effect("a", 1)));
  CHECK(m.duplicate(m.effect("a", 1)));
  CHECK_FALSE(m.duplicate(m.effect("b", 1)));
  CHECK_FALSE(m.duplicate(m.effect("a", 7)));
  CHECK(m.duplicate(m.effect("a", 6)));
  CHECK(m.duplicate(m.effect("a", 7)));
  CHECK(m.counted() == 3);
  CHECK(m.queued() == 6);
  m.start();
  CHECK(m.duplicate(m.effect("a", 7)));
  CHECK_FALSE(m.duplicate(m.effect("a", 8)));
  CHECK_FALSE(m.duplicate(m.effect("a", UINT64_MAX)));
  CHECK(m.duplicate(m.effect("a", UINT64_MAX)));
  CHECK(m.counted() == 5);
}

TEST_CASE("producer: an id or number that cannot be is refused, and a refused effect leaves its number free") {
  Site m;
  for (const auto& [id, seq] : std::vector<std::pair<std::string, uint64_t>>{{"", 1}, {"a", 0}, {std::string(129, 'x'), 1}}) {
    auto refused = m.store->commit(m.effect(id, seq));
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
  }
  Effect wrong = m.effect("a", 1);
  wrong.labels.push_back({});
  wrong.labels[0].prediction = PredictionId{999};
  wrong.labels[0].value = 1;
  CHECK(m.store->commit(wrong).error().code == Code::not_found);
  CHECK(m.counted() == 0);
  CHECK_FALSE(m.duplicate(m.effect("a", 1)));
  CHECK_FALSE(m.duplicate(m.effect(std::string(128, 'x'), 1)));
}

TEST_CASE("producer: an effect without anything in it takes its number") {
  Site m;
  Effect nothing;
  nothing.producer = Producer{"a", 3};
  CHECK_FALSE(m.duplicate(nothing));
  CHECK(m.duplicate(m.effect("a", 3)));
}

TEST_CASE("producer: the number is lost or kept together with its effect when the power goes") {
  Site m;
  CHECK_FALSE(m.duplicate(m.effect("a", 1)));
  CHECK_FALSE(m.duplicate(m.effect("a", 2, "slow")));  // not synced
  m.power_cut();
  CHECK(m.duplicate(m.effect("a", 1)));
  CHECK_FALSE(m.duplicate(m.effect("a", 2, "slow")));
  CHECK(m.counted() == 2);
  CHECK(m.queued() == 4);
}

TEST_CASE("producer: a repetition is acknowledged only when what it repeats is as durable as its rule says") {
  Site m;
  Effect loose = m.effect("a", 1);
  loose.durability = Durability::os;
  CHECK_FALSE(m.duplicate(loose));
  CHECK(m.duplicate(m.effect("a", 1)));  // by the rule `batch`
  m.power_cut();
  CHECK(m.duplicate(m.effect("a", 1)));
  CHECK(m.counted() == 1);
}

TEST_CASE("producer: an effect in doubt after a failed sync counts once when it is repeated, also past a power cut") {
  for (const bool cut : {false, true}) {
    Site m;
    CHECK_FALSE(m.duplicate(m.effect("a", 1)));
    m.disk.fail_syncs(1);
    REQUIRE_FALSE(m.store->commit(m.effect("a", 2)).ok());
    if (cut) m.power_cut();
    m.clock.advance(std::chrono::seconds(2));
    m.store->step();
    REQUIRE_FALSE(m.store->trouble());
    (void)m.duplicate(m.effect("a", 2));  // either, by what the disk has kept
    CHECK(m.duplicate(m.effect("a", 2)));
    CHECK(m.counted() == 2);
    CHECK(m.queued() == 4);
  }
}

TEST_CASE("producer: over random repetitions, failed syncs and power cuts every number counts exactly once") {
  Site m;
  Random random(Catch::rngSeed());
  std::map<std::string, uint64_t> next;
  uint64_t applied = 0;
  for (int round = 0; round < 300; ++round) {
    const std::string id = "p" + std::to_string(random.below(3));
    uint64_t& seq = next.try_emplace(id, 1).first->second;
    if (random.chance(0.1)) m.disk.fail_syncs(1);
    const Effect effect = m.effect(id, seq);
    while (true) {
      auto receipt = m.store->commit(effect);
      if (random.chance(0.1)) m.power_cut();
      if (receipt.ok() && !random.chance(0.3)) break;  // else the answer is lost: the producer repeats
      m.clock.advance(std::chrono::seconds(2));
      m.store->step();
    }
    ++applied;
    ++seq;
    REQUIRE(m.counted() == applied);
    REQUIRE(m.queued() == 2 * applied);
  }
}

TEST_CASE("producer: the one that has been silent for the longest is forgotten first, also after a restart") {
  Site m;
  m.options.streams = {{"*", Durability::os, true}};
  m.start();
  const auto seen = [&](uint64_t i) {
    Effect e;
    e.producer = Producer{"p" + std::to_string(i), 1};
    e.durability = Durability::os;
    return m.duplicate(e);
  };
  for (uint64_t i = 0; i < storage::internal::kProducersMax; ++i) REQUIRE_FALSE(seen(i));
  m.start();
  CHECK_FALSE(m.duplicate(m.effect("p0", 2)));                // it is the newest now
  CHECK_FALSE(seen(storage::internal::kProducersMax));                 // in the place of p1
  m.start();
  CHECK(seen(0));
  CHECK(seen(2));
  CHECK(seen(storage::internal::kProducersMax));
  CHECK_FALSE(seen(1));
  CHECK_FALSE(seen(2));
}
