#include "sync/policy.h"

#include <catch2/catch.hpp>

#include <limits>

using namespace skerry;
using namespace skerry::sync;
using storage::OutboxClass;
using namespace std::chrono_literals;

namespace {

constexpr double kNoCap = std::numeric_limits<double>::infinity();
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

const ClassDecision& of(const std::vector<ClassDecision>& all, OutboxClass outbox_class) {
  for (const auto& d : all) {
    if (d.outbox_class == outbox_class) return d;
  }
  FAIL("no decision about the class");
  return all.front();
}

}  // namespace

TEST_CASE("policy: the most urgent class goes first and the others say after whom") {
  auto all = decide({}, {.online = true, .budget_bytes = kNoCap}, backlog({{OutboxClass::telemetry, 4096}, {OutboxClass::label, 50}}), kNow);
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
  auto all = decide({}, {.online = false, .retry_at = kNow + 12s, .budget_bytes = kNoCap}, backlog({{OutboxClass::telemetry, 10}}), kNow);
  CHECK_FALSE(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).reason == "offline: next try in 12.0s");
  all = decide({}, {.online = false, .retry_at = kNow, .budget_bytes = kNoCap}, backlog({{OutboxClass::telemetry, 10}}), kNow);
  CHECK(of(all, OutboxClass::telemetry).reason == "offline: trying now");
}

TEST_CASE("policy: held by hand and switched off send nothing") {
  auto held = decide({}, {.online = true, .held = true, .budget_bytes = kNoCap}, backlog({{OutboxClass::alarm, 10}}), kNow);
  CHECK_FALSE(held[0].send);
  CHECK(held[0].reason == "held by hand");
  Options off;
  off.enabled = false;
  auto none = decide(off, {.online = true, .budget_bytes = kNoCap}, backlog({{OutboxClass::alarm, 10}}), kNow);
  CHECK_FALSE(none[0].send);
}

TEST_CASE("policy: under a rate cap the reason has the numbers") {
  Options options;
  options.rate_bytes_per_second = 50 << 10;
  LinkSnapshot link{.online = true, .budget_bytes = 50.0 * 1024 - 3.2 * 50 * 1024};
  auto all = decide(options, link, backlog({{OutboxClass::telemetry, 1 << 20}}), kNow);
  CHECK_FALSE(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).reason == "rate cap 50.0 KiB/s: 3.2 s until the next batch");

  link.budget_bytes = 60'000;
  all = decide(options, link, backlog({{OutboxClass::telemetry, 1 << 20}}), kNow);
  CHECK(of(all, OutboxClass::telemetry).send);
  CHECK(of(all, OutboxClass::telemetry).bytes_max == 60'000);

  link.budget_bytes = 100;  // a small alarm does not wait for a second's worth
  all = decide(options, link, backlog({{OutboxClass::alarm, 80}, {OutboxClass::telemetry, 1 << 20}}), kNow);
  CHECK(of(all, OutboxClass::alarm).send);
  CHECK_FALSE(of(all, OutboxClass::telemetry).send);
}

TEST_CASE("policy: with a burst smaller than a batch the class still gets its turn") {
  Options options;
  options.rate_bytes_per_second = 1000;
  options.burst_bytes = 500;
  auto all = decide(options, {.online = true, .budget_bytes = 500}, backlog({{OutboxClass::telemetry, 1 << 20}}), kNow);
  CHECK(of(all, OutboxClass::telemetry).send);
}
