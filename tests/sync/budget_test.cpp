#include "sync/budget.h"

#include <catch2/catch.hpp>

using namespace skerry;
using namespace skerry::sync;

namespace {

int64_t at(const char* time) { return *parse_time(time); }

}  // namespace

TEST_CASE("budget: a month begins on its reset day, or on the last day of a month that lacks it") {
  CHECK(month_of(at("2026-11-23T08:00:00Z"), 1) == Period{at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z")});
  CHECK(month_of(at("2026-11-23T08:00:00Z"), 24) == Period{at("2026-10-24T00:00:00Z"), at("2026-11-24T00:00:00Z")});
  CHECK(month_of(at("2026-11-24T00:00:00Z"), 24) == Period{at("2026-11-24T00:00:00Z"), at("2026-12-24T00:00:00Z")});
  CHECK(month_of(at("2027-02-28T12:00:00Z"), 31) == Period{at("2027-02-28T00:00:00Z"), at("2027-03-31T00:00:00Z")});
  CHECK(month_of(at("2027-01-05T12:00:00Z"), 10) == Period{at("2026-12-10T00:00:00Z"), at("2027-01-10T00:00:00Z")});
  CHECK(day_of(at("2026-11-23T23:59:59Z")) == Period{at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z")});
}

TEST_CASE("budget: a new month begins at zero, a clock that was ahead gives nothing out twice") {
  Ledger ledger;
  ledger.roll("sim", at("2026-11-23T08:00:00Z"), 1);
  ledger.charge("sim", "telemetry", 1000, 100, 2);
  CHECK(ledger.use("sim").month_bytes == 1100);
  CHECK(ledger.use("sim").cost == Approx(0.0022));
  ledger.roll("sim", at("2036-01-01T00:00:00Z"), 1);  // the clock jumps ahead
  CHECK(ledger.use("sim").month_bytes == 0);
  ledger.charge("sim", "telemetry", 500, 0, 2);
  ledger.roll("sim", at("2026-11-23T08:01:00Z"), 1);  // and back
  CHECK(ledger.use("sim").month_bytes == 1600);
  ledger.roll("sim", at("2026-12-01T00:00:00Z"), 1);
  CHECK(ledger.use("sim").month_bytes == 0);
  CHECK(ledger.use("sim").last_month_bytes == 1600);
  CHECK(ledger.use("sim").day_bytes == 0);
  CHECK(ledger.use("sim").purposes.at("telemetry").sent == 1500);
}

TEST_CASE("budget: what is on the disk is never less than what was sent") {
  Ledger ledger;
  ledger.roll("sim", at("2026-11-23T08:00:00Z"), 1);
  CHECK(ledger.must_write("sim", 1));
  std::string disk = ledger.encode_with_lease(1000);
  uint64_t sent = 0;
  for (int i = 0; i < 50; ++i) {
    if (ledger.must_write("sim", 150)) disk = ledger.encode_with_lease(1000);
    ledger.charge("sim", "telemetry", 150, 0, 0);
    sent += 150;
    CHECK(Ledger::decode(disk)->use("sim").month_bytes >= sent);
    CHECK(Ledger::decode(disk)->use("sim").month_bytes <= sent + 1000);
  }
  CHECK(Ledger::decode(ledger.encode())->use("sim").month_bytes == sent);
}

TEST_CASE("budget: a damaged count is told, not believed") {
  for (const char* text : {"", "{}", "[]", "{\"version\":2,\"bearers\":{}}", "{\"version\":1,\"bearers\":{\"a\":1}}", "\xff\xfe"}) {
    CHECK_FALSE(Ledger::decode(text).ok());
  }
}
