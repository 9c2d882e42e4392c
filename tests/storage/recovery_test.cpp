// A node that nobody comes to: whatever happened to the files of its store, it opens.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "storage/recovery.h"
#include "tests/storage/make.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::test;
using namespace skerry::storage::test;
namespace fs = std::filesystem;

namespace {

// A store of two series, sealed and merged into tables, closed.
struct World {
  World() {
    options.path = dir / "store";
    auto store = Store::open(options, clock);
    REQUIRE(store.ok());
    for (const char* name : {"a", "b"}) {
      Effect effect;
      effect.batches = {values(name, {{clock.now_ns(), 1}, {clock.now_ns() + 1000, 2}, {clock.now_ns() + 2000, 3}})};
      REQUIRE((*store)->commit(effect).ok());
      REQUIRE((*store)->seal().ok());
    }
  }
  std::vector<fs::path> files(const std::string& part) const {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(options.path)) {
      if (entry.path().filename().string().find(part) != std::string::npos) out.push_back(entry.path());
    }
    REQUIRE(!out.empty());
    return out;
  }
  std::unique_ptr<Store> recover() {
    auto refused = Store::open(options, clock);
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::corrupt);
    auto store = open_recovered(options, clock);
    INFO((store.ok() ? "" : store.error().message));
    REQUIRE(store.ok());
    return *std::move(store);
  }
  void takes_records(Store& store) {
    Effect more;
    more.batches = {values("c", {{clock.now_ns(), 7}})};
    CHECK(store.commit(more).ok());
    CHECK(store.seal().ok());
    CHECK(read_values(store, "c", {}) == std::vector<double>{7});
  }

  TempDir dir;
  SimClock clock;
  Options options;
};

}  // namespace

TEST_CASE("recovery: a whole store is opened as it is, and says nothing of a recovery") {
  World w;
  auto store = open_recovered(w.options, w.clock);
  REQUIRE(store.ok());
  CHECK(!last_recovery(**store));
  CHECK(read_values(**store, "a", {}) == std::vector<double>{1, 2, 3});
  CHECK(!fs::exists(w.options.path / "quarantine"));
}

TEST_CASE("recovery: without its list of tables a store is repaired at the start, and says so from then on") {
  World w;
  for (const fs::path& file : w.files("MANIFEST-")) fs::remove(file);
  w.clock.advance(std::chrono::hours(1));
  const int64_t at = w.clock.now_ns();
  auto store = w.recover();
  CHECK(read_values(*store, "a", {}) == std::vector<double>{1, 2, 3});
  CHECK(read_values(*store, "b", {}) == std::vector<double>{1, 2, 3});
  w.takes_records(*store);
  store.reset();
  auto again = open_recovered(w.options, w.clock);
  REQUIRE(again.ok());
  auto recovery = last_recovery(**again);
  REQUIRE(recovery);
  CHECK(recovery->at_ns == at);
  CHECK(recovery->damaged >= 1);
  CHECK(fs::exists(recovery->kept / "report.txt"));
  CHECK(recovery->why.find("MANIFEST") != std::string::npos);
}

TEST_CASE("recovery: a table that is missing costs its rows and not the start") {
  const size_t count = World().files(".sst").size();
  for (size_t i = 0; i < count; ++i) {
    World w;
    auto tables = w.files(".sst");
    REQUIRE(tables.size() == count);
    std::sort(tables.begin(), tables.end());
    INFO(tables[i].string());
    fs::remove(tables[i]);
    auto store = w.recover();
    CHECK(last_recovery(*store));
    w.takes_records(*store);
  }
}

TEST_CASE("recovery: of a store whose files are all garbage an empty one is made, and the garbage is kept") {
  World w;
  const size_t tables = w.files(".sst").size();
  for (const char* part : {".sst", "MANIFEST-", ".log"}) {
    for (const fs::path& file : w.files(part)) std::ofstream(file, std::ios::trunc) << "no such thing";
  }
  auto store = w.recover();
  auto recovery = last_recovery(*store);
  REQUIRE(recovery);
  CHECK(recovery->damaged >= tables);
  CHECK(std::distance(fs::directory_iterator(recovery->kept), fs::directory_iterator()) > static_cast<long>(tables));
  w.takes_records(*store);
}

TEST_CASE("recovery: what is no damage is no reason to repair") {
  World w;
  {
    auto used = Store::open(w.options, w.clock);
    REQUIRE(used.ok());
    auto refused = open_recovered(w.options, w.clock);
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::unavailable);
  }
  CHECK(!fs::exists(w.options.path / "quarantine"));
  std::ofstream(w.dir / "file") << "x";
  w.options.path = w.dir / "file";
  CHECK(!open_recovered(w.options, w.clock).ok());
  CHECK(*read_file(w.dir / "file", 10) == "x");
}
