// The comparison that the story and the schedules rest on must be able to find a fault.
#include "tests/e2e/support/records.h"

#include <catch2/catch.hpp>

using namespace skerry;
using namespace skerry::e2e;

namespace {

Batch batch(std::vector<int64_t> times, std::vector<double> values) {
  Batch b;
  b.series = {"imu", {{"device", "pump 3"}}};
  b.times = std::move(times);
  b.columns = {{"ax", std::move(values), {}}};
  return b;
}

RecordSet set(const Batch& b) {
  RecordSet s;
  s.add(b);
  return s;
}

}  // namespace

TEST_CASE("compare: equal sets differ in nothing") { CHECK(compare(set(batch({1, 2}, {0.1, 0.2})), {}, set(batch({1, 2}, {0.1, 0.2}))).none()); }

TEST_CASE("compare: a record that is not held is missing") {
  Difference d = compare(set(batch({1, 2}, {0.1, 0.2})), {}, set(batch({1}, {0.1})));
  CHECK(d.missing == 1);
  CHECK(d.example == "missing: imu{device=pump 3} 2 ax=0.2");
}

TEST_CASE("compare: a changed value is a missing and a foreign record") {
  Difference d = compare(set(batch({1}, {0.1})), {}, set(batch({1}, {0.10000000000000002})));
  CHECK(d.missing == 1);
  CHECK(d.foreign == 1);
}

TEST_CASE("compare: a record that is held twice is counted") {
  RecordSet held = set(batch({1}, {0.1}));
  held.add(batch({1}, {0.1}));
  CHECK(compare(set(batch({1}, {0.1})), {}, held).twice == 1);
}

TEST_CASE("compare: a record of unknown outcome may be held or not, but not twice") {
  RecordSet unknown = set(batch({7}, {0.7})), held = unknown;
  CHECK(compare({}, unknown, {}).none());
  CHECK(compare({}, unknown, held).none());
  held.add(unknown);
  CHECK(compare({}, unknown, held).twice == 1);
}

TEST_CASE("line protocol: names and values are escaped as InfluxDB reads them") {
  Batch b = batch({5}, {1.5});
  b.series.tags["a b"] = "c,d=e";
  b.columns.push_back({"n", std::vector<int64_t>{-3}, {}});
  b.columns.push_back({"on", std::vector<uint8_t>{1}, {}});
  b.columns.push_back({"say", std::vector<std::string>{"a \"b\" \\"}, {}});
  CHECK(to_line_protocol(b) == "imu,a\\ b=c\\,d\\=e,device=pump\\ 3 ax=1.5,n=-3i,on=true,say=\"a \\\"b\\\" \\\\\" 5\n");
}
