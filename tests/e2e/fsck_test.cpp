// The program `skerry fsck` on a store that was damaged.
#include <catch2/catch.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "storage/store.h"
#include "tests/e2e/support/process.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::e2e;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr milliseconds kLimit(60'000);

Finished fsck(const test::TempDir& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "fsck");
  auto done = run_program("skerry", arguments, folder.path(), kLimit);
  INFO((done.ok() ? "" : done.error().message));
  REQUIRE(done.ok());
  return *done;
}

void make_store(const fs::path& path, const Clock& clock) {
  storage::Options options;
  options.path = path;
  auto store = storage::Store::open(options, clock);
  REQUIRE(store.ok());
  storage::Effect effect;
  Batch batch;
  batch.series = {"pump", {{"machine", "pump-1"}}};
  std::vector<double> values;
  for (int i = 0; i < 100; ++i) {
    batch.times.push_back(clock.now_ns() + i);
    values.push_back(i * 0.5);
  }
  batch.columns.push_back({"v", values, {}});
  effect.batches.push_back(batch);
  REQUIRE((*store)->commit(effect).ok());
  REQUIRE((*store)->seal().ok());
}

}  // namespace

TEST_CASE("fsck: the program checks, exports and repairs a store, and says so by its exit code") {
  test::TempDir folder;
  test::SimClock clock;
  const fs::path store = folder / "store";
  make_store(store, clock);

  Finished whole = fsck(folder, {store.string(), "--json"});
  CHECK(whole.exit.code == 0);
  json report = json::parse(whole.output);
  CHECK(report["clean"] == true);
  CHECK(report["streams"][0]["series"] == "pump{machine=pump-1}");
  CHECK(report["streams"][0]["records"] == 100);

  fs::remove(store / "CURRENT");
  Finished lost = fsck(folder, {store.string()});
  CHECK(lost.exit.code == 1);
  CHECK(lost.output.find("skerry fsck --repair " + store.string()) != std::string::npos);

  Finished exported = fsck(folder, {store.string(), "--export", (folder / "all.lp").string(), "--series", "pump{machine=pump-1}"});
  CHECK(exported.exit.code == 1);
  auto lines = read_file(folder / "all.lp", 1 << 20);
  REQUIRE(lines.ok());
  CHECK(std::count(lines->begin(), lines->end(), '\n') == 100);
  CHECK(lines->starts_with("pump,machine=pump-1 v=0"));

  Finished table = fsck(folder, {store.string(), "--export", (folder / "all.csv").string(), "--format", "csv"});
  CHECK(table.exit.code == 1);
  auto csv = read_file(folder / "all.csv", 1 << 20);
  REQUIRE(csv.ok());
  CHECK(std::count(csv->begin(), csv->end(), '\n') == 101);
  CHECK(csv->starts_with("series,time,v\npump{machine=pump-1}," + format_time(clock.now_ns()) + ",0\n"));

  Finished mended = fsck(folder, {store.string(), "--repair", "--json"});
  CHECK(mended.exit.code == 0);
  report = json::parse(mended.output);
  CHECK(report["repaired"] == true);
  CHECK(report["damage_by_kind"]["manifest"] == 1);
  CHECK(fs::exists(fs::path(report["quarantine"].get<std::string>()) / "report.txt"));
  CHECK(fsck(folder, {store.string()}).exit.code == 0);

  Finished nothing = fsck(folder, {(folder / "nowhere").string(), "--json"});
  CHECK(nothing.exit.code == 2);
  CHECK(nothing.output.find("storage.path") != std::string::npos);
}
