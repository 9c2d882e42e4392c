#include "sync/policy.h"

#include <catch2/catch.hpp>

using namespace skerry;
using namespace skerry::sync;
using storage::OutboxClass;
using namespace std::chrono_literals;

namespace {

const SteadyTime kNow{100s};

std::vector<storage::OutboxStatus> backlog(std::vector<std::pair<OutboxClass, uint64_t>> bytes) {
  std::vector<storage::OutboxStatus> all;
  for (OutboxClass c : storage::kOutboxClasses) {
    storage::OutboxStatus status{.outbox_class = c};
    for (auto [waiting, n] : bytes) {
      if (waiting == c) status = {.outbox_class = c, .last_seq = 2, .entries = 2, .bytes = n};
    }
    all.push_back(status);
  }
  return all;
}

// What waits, over one bearer that is online.
Situation online(std::vector<std::pair<OutboxClass, uint64_t>> bytes) {
  Situation s{.now = kNow, .wall_ns = 1'764'000'000'000'000'000, .bearers = {{.online = true}}, .backlog = backlog(std::move(bytes))};
  for (auto& b : s.backlog) b.oldest_ns = s.wall_ns;
  for (auto& h : s.history) h.turn_at = kNow;
  return s;
}

// The same under a cap on the uplink.
Situation capped(uint64_t rate, double tokens, std::vector<std::pair<OutboxClass, uint64_t>> bytes) {
  Situation s = online(std::move(bytes));
  s.token_rate = rate;
  s.token_burst = 256 << 10;
  s.tokens = tokens;
  return s;
}

ClassDecision of(const std::vector<ClassDecision>& all, OutboxClass outbox_class) {
  for (const auto& d : all) {
    if (d.outbox_class == outbox_class) return d;
  }
  FAIL("no decision about the class");
  return all.front();
}

}  // namespace

TEST_CASE("policy: the most urgent class goes first and the others say after whom") {
  auto all = decide({}, online({{OutboxClass::telemetry, 4096}, {OutboxClass::label, 50}}));
  REQUIRE(all.size() == 6);
  CHECK(all[0].outbox_class == OutboxClass::alarm);
  CHECK_FALSE(all[0].send);
  CHECK(all[0].reason == "nothing waiting");
  CHECK(all[1].outbox_class == OutboxClass::label);
  CHECK(all[1].send);
  CHECK(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).reason == "4.0 KiB waiting in 2 entries, after label");
  CHECK(of(all, OutboxClass::telemetry).bytes_max == Options{}.batch_bytes_max);
}

TEST_CASE("policy: offline names the next try") {
  Situation s = online({{OutboxClass::telemetry, 10}});
  s.bearers[0] = {.online = false, .retry_at = kNow + 12s};
  CHECK(of(decide({}, s), OutboxClass::telemetry).reason == "offline: next try in 12.0s");
  CHECK(of(decide({}, s), OutboxClass::telemetry).not_before == kNow + 12s);
  s.bearers[0].retry_at = kNow;
  CHECK(of(decide({}, s), OutboxClass::telemetry).reason == "offline: trying now");
}

TEST_CASE("policy: held by hand and switched off send nothing") {
  Situation s = online({{OutboxClass::alarm, 10}});
  s.held = true;
  CHECK_FALSE(decide({}, s)[0].send);
  CHECK(decide({}, s)[0].reason == "held by hand");
  CHECK_FALSE(decide_hello({}, s).send);
  s.held = false;
  CHECK(decide({}, s)[0].send);
  CHECK(decide_hello({}, s).send);
  s.enabled = false;
  CHECK_FALSE(decide({}, s)[0].send);
  CHECK_FALSE(decide_hello({}, s).send);
}

TEST_CASE("policy: under a rate cap the reason has the numbers") {
  auto all = decide({}, capped(50 << 10, 50.0 * 1024 - 3.2 * 50 * 1024, {{OutboxClass::telemetry, 1 << 20}}));
  CHECK_FALSE(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).reason == "rate cap 50.0 KiB/s: 3.2 s until the next batch");

  all = decide({}, capped(50 << 10, 60'000, {{OutboxClass::telemetry, 1 << 20}}));
  CHECK(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).bytes_max == 60'000);

  // a small alarm does not wait for a second's worth
  all = decide({}, capped(50 << 10, 100, {{OutboxClass::alarm, 80}, {OutboxClass::telemetry, 1 << 20}}));
  CHECK(of(all, OutboxClass::alarm).send);
  CHECK_FALSE(of(all, OutboxClass::telemetry).send);
}

TEST_CASE("policy: with a burst smaller than a batch the class still gets its turn") {
  Situation s = capped(1000, 500, {{OutboxClass::telemetry, 1 << 20}});
  s.token_burst = 500;
  CHECK(of(decide({}, s), OutboxClass::telemetry).send);
}
