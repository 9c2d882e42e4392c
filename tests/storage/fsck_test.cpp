// Damaged stores, checked and repaired: what was not hit is served afterwards, what was lost was named, and nothing damaged is thrown away.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>

#include "base/file.h"
#include "storage/fsck.h"
#include "storage/internal/database.h"
#include "storage/internal/sealed_row.h"
#include "storage/sample_block.h"
#include "tests/storage/make.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::flip_bit;
using skerry::test::SimClock;
using skerry::test::TempDir;
namespace fs = std::filesystem;
namespace in = skerry::storage::internal;

namespace {

constexpr int64_t kStepNs = 1'000'000'000;

// A store with something in every family, and what it should answer.
struct World {
  TempDir folder;
  SimClock clock;
  Options options;
  std::map<std::string, std::map<int64_t, double>> records;
  uint64_t queued = 0, predictions = 0, labels = 0, examples = 0;
  int64_t start_ns = 0;

  World() {
    options.path = folder / "store";
    options.write_buffer_bytes = 64 << 10;
    start_ns = clock.now_ns();
  }
  fs::path copy(const std::string& name) const {
    const fs::path to = folder / name;
    fs::remove_all(to);
    fs::copy(options.path, to, fs::copy_options::recursive);
    return to;
  }
  // Of a store in use, as a kill -9 would leave it: again, when it was merging tables meanwhile.
  fs::path copy_running(const std::string& name) const {
    const auto listed = [&] {
      std::map<std::string, uint64_t> out;  // with sizes: a table may be finished, and listed, while it is copied
      for (const auto& entry : fs::directory_iterator(options.path)) out[entry.path().filename()] = entry.file_size();
      return out;
    };
    while (true) {
      try {
        const auto before = listed();
        const fs::path to = copy(name);
        if (listed() == before) return to;
      } catch (const fs::filesystem_error&) {
      }
    }
  }
  Options at(const fs::path& path) const {
    Options out = options;
    out.path = path;
    return out;
  }
  std::unique_ptr<Store> open(const fs::path& path) const {
    auto opened = Store::open(at(path), clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    return std::move(*opened);
  }

  void write(Store& store, const std::string& series, int from, int to, uint64_t seed) {
    Random random(seed);
    for (int i = from; i < to; i += 10) {
      std::vector<std::pair<int64_t, double>> rows;
      for (int k = i; k < i + 10; ++k) {
        const double value = static_cast<double>(random()) * 0.37;
        rows.emplace_back(start_ns + k * kStepNs, value);
        records[series][start_ns + k * kStepNs] = value;
      }
      Effect effect;
      effect.durability = Durability::os;
      effect.batches.push_back(values(series, rows));
      REQUIRE(store.commit(effect).ok());
      ++queued;
    }
  }
  void write_others(Store& store, int count) {
    for (int i = 0; i < count; ++i) {
      Effect effect;
      effect.durability = Durability::os;
      Prediction p = prediction("m", 1 + i % 2, "a", start_ns + i * kStepNs, 100);
      effect.predictions = {p};
      Example e;
      e.model = "m";
      e.series = "a";
      e.window = {start_ns + i * kStepNs, start_ns + (i + 1) * kStepNs};
      e.data = std::vector<float>(64, static_cast<float>(i));
      e.channels = 1;
      e.label = i % 3;
      effect.examples = {e};
      Label label;
      label.model = "m";
      label.series = "a";
      label.window = e.window;
      label.value = i % 3;
      label.source = "test";
      effect.labels = {label};
      ModelVersion version;
      version.model = "m";
      version.version = static_cast<uint32_t>(i + 1);
      effect.versions = {version};
      effect.notes = {{"cursor", std::to_string(i)}};
      auto done = store.commit(effect);
      INFO((done.ok() ? "" : done.error().message));
      REQUIRE(done.ok());
      ++predictions, ++labels, ++examples, ++queued;
    }
  }
  // Sealed chunks, blocks in the head's tables, and rows that are only in the log.
  void fill() {
    auto store = open(options.path);
    for (int round = 0; round < 2; ++round) {
      for (const char* series : {"a", "b", "c"}) write(*store, series, round * 400, round * 400 + 400, round * 7 + series[0]);
      write_others(*store, 20);
      REQUIRE(store->seal().ok());
    }
    for (const char* series : {"a", "d"}) write(*store, series, 2000, 2200, 99);
    write_others(*store, 5);
    REQUIRE(store->outbox_acknowledge(OutboxClass::telemetry, 40).ok());
    clock.advance(std::chrono::seconds(5));
    store->step();
    store.reset();
    store = open(options.path);  // the log becomes tables
    write(*store, "a", 3000, 3050, 5);
  }

  std::vector<fs::path> tables(const fs::path& path) const {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".sst") out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
  }
};

// One for all tests: they work on copies.
World& world() {
  static World* made = [] {
    auto* out = new World;
    out->fill();
    return out;
  }();
  return *made;
}

FsckReport run(const Options& options, FsckRequest request = {}) {
  auto report = fsck(options, request);
  INFO((report.ok() ? "" : report.error().message));
  REQUIRE(report.ok());
  return std::move(*report);
}

std::string text_of(const FsckReport& report) {
  std::string out;
  for (const auto& d : report.damage) {
    out += fmt::format("{} {} {} [{}] {}\n", to_string(d.kind), d.family, d.place, d.series, d.reason);
  }
  return out;
}

bool covered(const FsckReport& report, const std::string& series, int64_t time) {
  return std::any_of(report.damage.begin(), report.damage.end(), [&](const FsckDamage& d) {
    return (d.series.empty() || d.series == series) && time >= d.range.from_ns && time < d.range.to_ns;
  });
}

// Every record is there or was named; nothing is there that never was. Returns how many are lost.
uint64_t compare_records(const World& w, const Store& store, const FsckReport& report) {
  uint64_t lost = 0;
  for (const auto& [series, rows] : w.records) {
    std::map<int64_t, double> back;
    auto read = store.read({series, {}}, {}, 1 << 20);
    if (read.ok()) {
      const auto* column = read->column("v");
      REQUIRE(column);
      for (size_t i = 0; i < read->rows(); ++i) back[read->times[i]] = std::get<0>(column->values)[i];
    }
    for (const auto& [time, value] : rows) {
      auto found = back.find(time);
      if (found != back.end()) {
        if (found->second != value) FAIL("a wrong value of " << series);
        back.erase(found);
        continue;
      }
      ++lost;
      if (!covered(report, series, time)) FAIL("a record of " << series << " is lost and not named:\n" << text_of(report));
    }
    CHECK(back.empty());
  }
  CHECK(store.damaged() == 0);
  return lost;
}

void check_outbox(Store& store, uint64_t last) {
  const auto status = store.outbox_status();
  auto telemetry = std::find_if(status.begin(), status.end(), [](const auto& s) { return s.outbox_class == OutboxClass::telemetry; });
  CHECK(telemetry->last_seq == last);
  auto items = store.outbox_read(OutboxClass::telemetry, 0, UINT64_MAX);
  REQUIRE(items.ok());
  REQUIRE(!items->empty());
  CHECK(items->back().seq == last);
  for (size_t i = 1; i < items->size(); ++i) REQUIRE((*items)[i].seq == (*items)[i - 1].seq + 1);
  for (const OutboxItem& item : *items) {
    if (item.kind != EntryKind::samples) continue;
    auto block = decode_block({}, item.payload);
    REQUIRE(block.ok());
    REQUIRE(block->rows() == item.records);
  }
}

// Repairs, and sees to it that the store is whole afterwards. Returns the records that are lost.
uint64_t repair(World& w, const fs::path& path, FsckReport* out = nullptr) {
  const FsckReport report = run(w.at(path), {.repair = true});
  INFO(text_of(report));
  CHECK(report.repaired == !report.clean());
  CHECK(!fs::exists(path / "fsck.tmp"));
  CHECK(!fs::exists(path / "fsck.old"));
  const FsckReport after = run(w.at(path));
  INFO("after:\n" << text_of(after));
  CHECK(after.clean());
  auto store = w.open(path);
  const uint64_t lost = compare_records(w, *store, report);
  check_outbox(*store, w.queued);
  Effect more;
  more.batches = {values("a", {{w.start_ns + 5000 * kStepNs, 1.5}}), values("new", {{w.start_ns, 2.5}})};
  CHECK(store->commit(more).ok());
  CHECK(store->seal().ok());
  CHECK(read_values(*store, "new", {}) == std::vector<double>{2.5});
  if (out) *out = report;
  return lost;
}

// The database under a store, for forging rows.
struct Raw {
  std::unique_ptr<in::Database> db;
  explicit Raw(const Options& options) {
    auto opened = in::Database::open(options);
    REQUIRE(opened.ok());
    db = std::move(*opened);
  }
  void put(in::Family f, const std::string& key, const std::string& value) { REQUIRE((*db)->Put({}, db->family(f), key, value).ok()); }
  void remove(in::Family f, const std::string& key) { REQUIRE((*db)->Delete({}, db->family(f), key).ok()); }
  std::pair<std::string, std::string> first(in::Family f) const {
    auto it = db->iterate(f);
    it->SeekToFirst();
    REQUIRE(it->Valid());
    return {it->key().ToString(), it->value().ToString()};
  }
};

bool contains_bytes(const fs::path& folder, const std::string& bytes) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    auto content = read_file(entry.path(), 1 << 30);
    if (content.ok() && content->find(bytes) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("fsck: a whole store is clean, its rows and streams are counted, and nothing in it changes") {
  World& w = world();
  const fs::path path = w.copy("whole");
  std::map<std::string, std::string> before;
  for (const auto& entry : fs::directory_iterator(path)) before[entry.path().filename()] = sha256_file(entry.path(), 1 << 30).value();
  const FsckReport report = run(w.at(path));
  INFO(text_of(report));
  CHECK(report.clean());
  CHECK(report.tables > 5);
  for (const char* family : in::kFamilyNames) CHECK(report.rows.at(family) > 0);
  REQUIRE(report.streams.size() == w.records.size());
  for (const FsckStream& stream : report.streams) {
    CHECK(stream.records == w.records.at(stream.series).size());
    CHECK(stream.first_ns == w.records.at(stream.series).begin()->first);
    CHECK(stream.last_ns == w.records.at(stream.series).rbegin()->first);
  }
  std::map<std::string, std::string> after;
  for (const auto& entry : fs::directory_iterator(path)) after[entry.path().filename()] = sha256_file(entry.path(), 1 << 30).value();
  before.erase("LOCK");
  after.erase("LOCK");
  CHECK(after == before);
  CHECK(repair(w, path) == 0);  // and a repair finds nothing to do
  CHECK(!fs::exists(path / "quarantine"));
}

TEST_CASE("fsck: a store in use is refused, a folder that is none is named") {
  World& w = world();
  const fs::path path = w.copy("used");
  {
    auto store = w.open(path);
    auto refused = fsck(w.at(path));
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::unavailable);
    CHECK(refused.error().message.find("stop the node") != std::string::npos);
  }
  CHECK(run(w.at(path)).clean());
  auto nothing = fsck(w.at(w.folder / "nowhere"));
  REQUIRE(!nothing.ok());
  CHECK(nothing.error().code == Code::not_found);
  TempDir empty;
  CHECK(fsck(w.at(empty.path())).error().code == Code::not_found);
}

TEST_CASE("fsck: flipped bits in each table in turn cost what they hit, and the quarantine has the table") {
  World& w = world();
  Random random(Catch::rngSeed());
  uint64_t found = 0, tables = 0;
  for (const fs::path& original : w.tables(w.options.path)) {
    const fs::path path = w.copy("flipped");
    const fs::path table = path / original.filename();
    const uint64_t flips = 1 + random.below(4);
    for (uint64_t i = 0; i < flips; ++i) flip_bit(table, random.below(fs::file_size(table)), static_cast<unsigned>(random.below(8)));
    const std::string damaged = sha256_file(table, 1 << 30).value();
    INFO(table.filename() << ", seed " << Catch::rngSeed());
    FsckReport report;
    repair(w, path, &report);
    ++tables;
    if (report.clean()) continue;  // bytes that mean nothing
    ++found;
    INFO(text_of(report));
    REQUIRE(!report.quarantine.empty());
    CHECK(sha256_file(report.quarantine / table.filename(), 1 << 30).value() == damaged);
    CHECK(fs::exists(report.quarantine / (table.filename().string() + ".txt")));
  }
  CHECK(found >= tables / 2);
}

TEST_CASE("fsck: a flipped bit of a block costs that block's rows alone") {
  World& w = world();
  for (const fs::path& original : w.tables(w.options.path)) {
    const fs::path path = w.copy("block");
    flip_bit(path / original.filename(), 20);
    const FsckReport report = run(w.at(path));
    INFO(text_of(report));
    REQUIRE(report.damage_by_kind.contains(DamageKind::table));
    uint64_t all = 0;
    for (const auto& [series, rows] : w.records) all += rows.size();
    CHECK(repair(w, path) < all / 2);
  }
}

TEST_CASE("fsck: a table that is cut, empty or missing") {
  World& w = world();
  Random random(Catch::rngSeed());
  for (const fs::path& original : w.tables(w.options.path)) {
    const fs::path path = w.copy("cut");
    const fs::path table = path / original.filename();
    const char* how = std::vector{"cut", "cut", "empty", "missing"}[random.below(4)];
    if (*how == 'c') fs::resize_file(table, random.below(fs::file_size(table)));
    if (*how == 'e') fs::resize_file(table, 0);
    if (*how == 'm') fs::remove(table);
    INFO(table.filename() << " " << how << ", seed " << Catch::rngSeed());
    FsckReport report;
    repair(w, path, &report);
    CHECK(report.damage_by_kind.contains(DamageKind::table));
  }
}

TEST_CASE("fsck: a lost or cut list of tables is built anew, and nothing is lost") {
  World& w = world();
  const auto manifest = [](const fs::path& path) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().filename().string().starts_with("MANIFEST-")) return entry.path();
    }
    return fs::path();
  };
  const uint64_t bytes = fs::file_size(manifest(w.options.path));
  for (const std::string how : {"current", "current garbled", "manifest", "0", "30", "quarter", "half", "most"}) {
    const fs::path path = w.copy("list");
    if (how == "current") fs::remove(path / "CURRENT");
    else if (how == "current garbled") std::ofstream(path / "CURRENT") << "no such thing";
    else if (how == "manifest") fs::remove(manifest(path));
    else if (how == "0" || how == "30") fs::resize_file(manifest(path), std::stoul(how));
    else fs::resize_file(manifest(path), how == "quarter" ? bytes / 4 : how == "half" ? bytes / 2 : bytes * 9 / 10);
    INFO(how);
    if (how != "quarter" && how != "half" && how != "most") {
      auto refused = Store::open(w.at(path), w.clock);
      REQUIRE(!refused.ok());
      CHECK(refused.error().message.find("skerry fsck --repair " + path.string()) != std::string::npos);
    }
    FsckReport report;
    CHECK(repair(w, path, &report) == 0);
    INFO(text_of(report));
    if (how != "most") CHECK(report.damage_by_kind.contains(DamageKind::manifest));  // its last entries may be ones that nothing depends on
  }
}

TEST_CASE("fsck: a list of tables that lost its last entries hides no table") {
  World& w = world();
  World late;  // its own: it goes on
  late.fill();
  auto store = late.open(late.options.path);
  for (int round = 0; round < 3; ++round) {
    late.write(*store, "a", 6000 + round * 100, 6100 + round * 100, 3);
    late.write(*store, "b", 6000 + round * 100, 6100 + round * 100, 4);
    REQUIRE(store->seal().ok());
  }
  const fs::path killed = late.copy_running("killed");
  store.reset();
  fs::path manifest;
  for (const auto& entry : fs::directory_iterator(killed)) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) manifest = entry.path().filename();
  }
  REQUIRE(w.records.size() == late.records.size());
  CHECK(run(late.at(killed)).clean());
  const uint64_t bytes = fs::file_size(killed / manifest);
  uint64_t noticed = 0;
  for (uint64_t cut = 1; cut < bytes; cut += std::max<uint64_t>(1, bytes / 12)) {
    const fs::path path = late.folder / "cut";
    fs::remove_all(path);
    fs::copy(killed, path, fs::copy_options::recursive);
    fs::resize_file(path / manifest, bytes - cut);
    INFO("cut by " << cut << " of " << bytes);
    FsckReport report;
    CHECK(repair(late, path, &report) == 0);
    noticed += report.damage_by_kind.contains(DamageKind::manifest);
  }
  CHECK(noticed > 6);
}

TEST_CASE("fsck: tables that an interrupted flush left behind are no damage") {
  World w;
  w.fill();
  auto store = w.open(w.options.path);
  w.write(*store, "a", 6000, 6200, 3);
  const fs::path before = w.copy_running("before");
  REQUIRE(store->seal().ok());
  uint64_t left = 0;
  for (const fs::path& table : w.tables(w.options.path)) {
    if (fs::exists(before / table.filename())) continue;
    std::error_code gone;  // the store runs on, and may have merged it away since it was listed
    if (fs::copy_file(table, before / table.filename(), gone)) ++left;
  }
  store.reset();
  REQUIRE(left >= 3);
  const FsckReport report = run(w.at(before));
  INFO(text_of(report));
  CHECK(report.clean());
  CHECK(repair(w, before) == 0);
}

TEST_CASE("fsck: a log that cannot be read to its end is named, and put aside by a repair") {
  World& w = world();
  const fs::path path = w.copy("log");
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".log" && entry.file_size() > 300) flip_bit(entry.path(), 200);
  }
  std::ofstream(path / "note.txt") << "of a person";
  FsckReport report = run(w.at(path));
  CHECK(report.clean());  // a power cut leaves the same
  REQUIRE(report.notes.size() == 1);
  INFO(report.notes[0]);
  fs::remove(path / "CURRENT");
  report = run(w.at(path), {.repair = true});
  CHECK(report.repaired);
  const auto put_aside = fs::directory_iterator(report.quarantine);
  CHECK(std::count_if(begin(put_aside), end(put_aside), [](const auto& entry) { return entry.path().extension() == ".log"; }) >= 1);
  CHECK(run(w.at(path)).clean());
  CHECK(fs::exists(path / "note.txt"));
  CHECK(!w.open(path)->read({"a", {}}, {}, 1 << 20)->times.empty());
}

TEST_CASE("fsck: with the list of tables lost, a merge that was not finished is no obstacle") {
  World& w = world();
  const fs::path path = w.copy("unmerged"), merged = w.copy("merged");
  {
    Raw raw(w.at(merged));
    for (auto* family : raw.db->families()) REQUIRE((*raw.db)->CompactRange({}, family, nullptr, nullptr).ok());
  }
  uint64_t results = 0;
  for (const fs::path& table : w.tables(merged)) {
    if (fs::exists(path / table.filename())) continue;
    fs::copy_file(table, path / table.filename());
    ++results;
  }
  REQUIRE(results >= 4);
  fs::remove(path / "CURRENT");
  CHECK(repair(w, path) == 0);
}

TEST_CASE("fsck: a lost list of tables together with a damaged table") {
  World& w = world();
  Random random(Catch::rngSeed());
  for (const fs::path& original : w.tables(w.options.path)) {
    if (random.below(3) != 0) continue;
    const fs::path path = w.copy("both");
    fs::remove(path / "CURRENT");
    flip_bit(path / original.filename(), 20);
    INFO(original.filename());
    FsckReport report;
    repair(w, path, &report);
    CHECK(report.damage_by_kind.contains(DamageKind::table));
  }
}

TEST_CASE("fsck: garbage rows in every family are found, put aside and gone after a repair") {
  World& w = world();
  const fs::path path = w.copy("garbage");
  const std::string garbage = "garbage that nobody decodes";
  {
    Raw raw(w.at(path));
    for (int f = 0; f < in::kFamilyCount; ++f) {
      const auto family = static_cast<in::Family>(f);
      raw.put(family, "garbage key", garbage);
      raw.put(family, std::string(20, '\x01'), garbage);
      raw.put(family, "", garbage);
      raw.put(family, std::string(300, '\xff'), garbage);
    }
  }
  FsckReport report = run(w.at(path));
  INFO(text_of(report));
  CHECK(report.damage_count >= 4 * in::kFamilyCount);
  CHECK(repair(w, path, &report) == 0);
  for (const std::string family : in::kFamilyNames) {
    auto rows = read_file(report.quarantine / (family + ".rows"), 1 << 20);
    REQUIRE(rows.ok());
    CHECK(rows->find(garbage) != std::string::npos);
    CHECK(fs::exists(report.quarantine / (family + ".rows.txt")));
  }
}

TEST_CASE("fsck: an own row of each family overwritten with garbage") {
  World& w = world();
  for (int f = 0; f < in::kFamilyCount; ++f) {
    const auto family = static_cast<in::Family>(f);
    const fs::path path = w.copy("own");
    std::string key;
    {
      Raw raw(w.at(path));
      key = raw.first(family).first;
      raw.put(family, key, "not what was here");
    }
    INFO(in::kFamilyNames[f]);
    FsckReport report;
    repair(w, path, &report);
    CHECK(!report.clean());
    CHECK(contains_bytes(report.quarantine, "not what was here"));
  }
}

TEST_CASE("fsck: every row of the store's state, lost in turn, is built anew") {
  World& w = world();
  std::vector<std::string> keys;
  {
    Raw raw(w.at(w.copy("keys")));
    auto it = raw.db->iterate(in::kMeta);
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      if (it->key()[0] != 'n') keys.push_back(it->key().ToString());
    }
  }
  REQUIRE(keys.size() > 10);
  for (const std::string& key : keys) {
    for (const bool damaged : {true, false}) {
      const fs::path path = w.copy("state");
      {
        Raw raw(w.at(path));
        damaged ? raw.put(in::kMeta, key, "damaged") : raw.remove(in::kMeta, key);
      }
      INFO("row " << key[0] << (damaged ? " damaged" : " removed"));
      const FsckReport report = run(w.at(path), {.repair = true});
      INFO(text_of(report));
      CHECK(!report.clean());
      CHECK(run(w.at(path)).clean());
      auto store = w.open(path);
      if (key[0] != 's') compare_records(w, *store, report);  // the last series may have no entry in the outbox that names it
      if (key[0] != 'o' || static_cast<OutboxClass>(key[1]) != OutboxClass::telemetry) check_outbox(*store, w.queued);
    }
  }
}

TEST_CASE("fsck: a chunk without its index row is taken in again, an index row without its chunk goes") {
  World& w = world();
  const fs::path path = w.copy("orphans");
  std::string orphan, childless;
  {
    Raw raw(w.at(path));
    std::vector<std::pair<std::string, std::string>> rows;
    auto it = raw.db->iterate(in::kIndex);
    for (it->SeekToFirst(); it->Valid(); it->Next()) rows.emplace_back(it->key().ToString(), it->value().ToString());
    REQUIRE(rows.size() >= 3);
    raw.remove(in::kIndex, rows[0].first);
    auto sealed = in::decode_sealed_row(rows[2].second);
    REQUIRE(sealed.ok());
    raw.remove(in::kChunks, in::key::chunk(sealed->generation, rows[2].first));
  }
  const FsckReport found = run(w.at(path));
  INFO(text_of(found));
  CHECK(found.damage_by_kind.at(DamageKind::index_lost) == 1);
  CHECK(found.damage_by_kind.at(DamageKind::chunk_lost) == 1);
  const uint64_t lost = repair(w, path);
  CHECK(lost > 0);
  CHECK(lost <= 400);
}

TEST_CASE("fsck: without any index the chunks are taken in again, and the outbox gives what it gave") {
  World& w = world();
  const fs::path path = w.copy("index");
  const auto waiting = [&](const fs::path& from) {
    auto items = w.open(from)->outbox_read(OutboxClass::telemetry, 0, UINT64_MAX);
    REQUIRE(items.ok());
    return *items;
  };
  const auto before = waiting(path);
  {
    Raw raw(w.at(path));
    std::vector<std::string> keys;
    auto it = raw.db->iterate(in::kIndex);
    for (it->SeekToFirst(); it->Valid(); it->Next()) keys.push_back(it->key().ToString());
    for (const std::string& key : keys) raw.remove(in::kIndex, key);
  }
  FsckReport report;
  CHECK(repair(w, path, &report) == 0);
  INFO(text_of(report));
  CHECK(report.outbox_holes == 0);
  const auto after = waiting(path);
  REQUIRE(after.size() >= before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    CHECK(after[i].payload == before[i].payload);
    CHECK(after[i].records == before[i].records);
  }
}

TEST_CASE("fsck: outbox entries that are lost come as empty blocks") {
  World& w = world();
  const fs::path path = w.copy("holes");
  {
    Raw raw(w.at(path));
    for (uint64_t seq : {50, 51, 52, 70}) raw.remove(in::kOutbox, in::key::outbox(OutboxClass::telemetry, seq));
    raw.remove(in::kOutbox, in::key::outbox(OutboxClass::telemetry, w.queued));
  }
  FsckReport report = run(w.at(path));
  CHECK(report.outbox_holes == 5);
  CHECK(repair(w, path) == 0);
  auto store = w.open(path);
  auto items = store->outbox_read(OutboxClass::telemetry, 50, 1);
  REQUIRE(items.ok());
  CHECK(items->front().records == 0);
}

TEST_CASE("fsck: what can be read of a damaged store is exported without changing it") {
  World& w = world();
  const auto exported = [&](const fs::path& path, const std::string& series) {
    std::map<std::string, std::map<int64_t, double>> out;
    FsckRequest request;
    request.export_series = series;
    request.export_to = [&](const Batch& batch) -> Status {
      for (size_t i = 0; i < batch.rows(); ++i) out[batch.series.text()][batch.times[i]] = batch.column("v")->number(i);
      return {};
    };
    auto report = fsck(w.at(path), request);
    INFO((report.ok() ? "" : report.error().message));
    REQUIRE(report.ok());
    return out;
  };
  const fs::path path = w.copy("export");
  CHECK(exported(path, "") == w.records);
  CHECK(exported(path, "b").size() == 1);
  FsckRequest unknown;
  unknown.export_series = "zzz";
  unknown.export_to = [](const Batch&) { return Status(); };
  CHECK(fsck(w.at(path), unknown).error().code == Code::not_found);

  fs::remove(path / "CURRENT");
  const auto tables = w.tables(path);
  CHECK(exported(path, "") == w.records);
  CHECK(!fs::exists(path / "CURRENT"));
  CHECK(w.tables(path) == tables);
  CHECK(!fs::exists(path / "quarantine"));
}

TEST_CASE("fsck: a repair that was interrupted while the databases were exchanged is finished by the next, or never happened") {
  World& w = world();
  const fs::path mended = w.copy("mended");
  repair(w, mended);
  const auto files = [](const fs::path& from, const fs::path& to, bool with_current, int share) {
    fs::create_directories(to);
    int n = 0;
    for (const auto& entry : fs::directory_iterator(from)) {
      const std::string name = entry.path().filename();
      if (!entry.is_regular_file() || name == "LOCK" || (name == "CURRENT" && !with_current)) continue;
      if (name == "CURRENT" || n++ % 2 < share) fs::rename(entry.path(), to / name);
    }
  };
  SECTION("before the old one began to leave: it may have been used since") {
    const fs::path path = w.copy("interrupted");
    fs::create_directories(path / "fsck.ready");
    std::ofstream(path / "fsck.ready" / "CURRENT") << "MANIFEST-000001\n";
    CHECK(repair(w, path) == 0);
    CHECK(!fs::exists(path / "fsck.ready"));
  }
  SECTION("while the old one left, or the new one came in") {
    const bool leaving = GENERATE(true, false);
    const fs::path path = w.copy("interrupted");
    if (leaving) {
      files(path, path / "fsck.old", true, 1);
      files(mended, path / "fsck.ready", true, 2);
    } else {
      files(path, path / "fsck.old", true, 2);
      files(mended, path / "fsck.install", true, 2);
      files(path / "fsck.install", path, false, 1);
    }
    auto refused = Store::open(w.at(path), w.clock);
    REQUIRE(!refused.ok());
    CHECK(refused.error().message.find("fsck --repair") != std::string::npos);
    const FsckReport report = run(w.at(path));
    INFO(text_of(report));
    CHECK(report.clean());
    CHECK(report.notes.size() == 1);
    auto store = w.open(path);
    CHECK(read_values(*store, "new", {}) == std::vector<double>{2.5});  // what repair() wrote into the mended one
  }
}
