// The node on a disk that is full for a while.
#include "tests/node/rest_fixture.h"
#include "tests/support/fault_fs.h"

using namespace skerry;
using namespace skerry::test;
using nlohmann::json;

TEST_CASE("REST: a full disk answers 507 with Retry-After, reading goes on, and writes succeed again when there is space") {
  FaultFs disk;
  RestFixture f([&](config::Config config) {
    config.storage.file_system = disk.file_system();
    return config;
  });
  REQUIRE(f.post("/write", "room t=1 1763999999000000000\n").status == 204);
  disk.set_space_left(0);
  auto refused = f.post("/write", "room t=2\n");
  CHECK(f.refusal(refused, 507).find("disk") != std::string::npos);
  bool retry_after = false;
  for (const auto& [name, value] : refused.headers) retry_after = retry_after || name == "retry-after";
  CHECK(retry_after);
  CHECK(f.get_json("/v1/query?series=room")["rows"].size() == 1);
  CHECK_FALSE(f.get_json("/v1/status")["trouble"].is_null());
  CHECK(f.get("/v2/health/ready").status == 200);
  disk.lift_space();
  bool written = false;
  for (int i = 0; i < 100 && !written; ++i) {
    f.clock().advance(std::chrono::seconds(1));
    f.node().step_store();
    written = f.post("/write", "room t=2\n").status == 204;
  }
  CHECK(written);
  CHECK(f.get_json("/v1/query?series=room")["rows"].size() == 2);
  CHECK(f.get_json("/v1/status")["trouble"].is_null());
}

TEST_CASE("node: what a source brought while the disk was full is kept, without a hole") {
  FaultFs disk;
  TempDir dir;
  SimClock clock;
  config::Config config = node_config(dir.path());
  config.storage.file_system = disk.file_system();
  plugins::PumpOptions pump;
  pump.rate_hz = 100;
  config.sources.push_back({.name = "pump", .options = pump});
  auto opened = node::Node::open(config, node_seams(clock));
  REQUIRE(opened.ok());
  node::Node& node = **opened;
  for (int i = 0; i < 60; ++i) {
    if (i == 20) disk.set_space_left(0);
    if (i == 40) disk.lift_space();
    clock.advance(std::chrono::seconds(1));
    node.step_sources();
    node.step_store();
    if (i == 39) CHECK(node.status().source_errors > 0);
  }
  auto streams = node.store().streams();
  REQUIRE(streams.ok());
  REQUIRE(streams->size() == 1);
  auto records = node.store().read(streams->at(0).series, {}, 1'000'000);
  REQUIRE(records.ok());
  CHECK(records->rows() == node.status().records);
  CHECK(records->rows() > 2000);
  int holes = 0;
  for (size_t i = 1; i < records->rows(); ++i) holes += records->times[i] - records->times[i - 1] > 15'000'000;
  CHECK(holes == 0);
}
