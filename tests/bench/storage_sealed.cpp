#include "tests/bench/storage_sealed.h"

#include <algorithm>
#include <iostream>

#include "storage/chunk.h"
#include "storage/store.h"
#include "tests/bench/rounds.h"
#include "tests/bench/sensor_signal.h"
#include "tests/bench/storage_codec.h"
#include "tests/support/sensor_data.h"
#include "tests/support/sim_clock.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRowsPerCommit = 1000;
constexpr size_t kSmokeRecordings = 4;
constexpr int kZstdLevel = 19;
constexpr int kRolledRows = 4'000'000, kSmokeRolledRows = 200'000;
constexpr uint64_t kRolledQuota = 2 << 20;

storage::Options options_for(const fs::path& folder, storage::StreamRule rule = {}) {
  storage::Options options;
  options.path = folder;
  rule.durability = storage::Durability::os;
  rule.sync = false;
  options.streams = {rule};
  return options;
}

Status write(storage::Store& store, const Batch& whole, const std::string& series) {
  for (size_t from = 0; from < whole.rows(); from += kRowsPerCommit) {
    const auto at = static_cast<std::ptrdiff_t>(from), end = static_cast<std::ptrdiff_t>(std::min(whole.rows(), from + kRowsPerCommit));
    storage::Effect effect;
    Batch& piece = effect.batches.emplace_back();
    piece.series.name = series;
    piece.times.assign(whole.times.begin() + at, whole.times.begin() + end);
    for (const Column& column : whole.columns) {
      const auto& values = std::get<0>(column.values);
      piece.columns.push_back({column.name, std::vector<double>(values.begin() + at, values.begin() + end), {}});
    }
    SKERRY_TRY(store.commit(effect));
    store.step();
  }
  return {};
}

uint64_t table_bytes(const fs::path& folder) {
  uint64_t sum = 0;
  for (const auto& entry : fs::directory_iterator(folder)) sum += entry.path().extension() == ".sst" ? entry.file_size() : 0;
  return sum;
}

Result<Figure> bytes_per_value(const std::string& set, const std::vector<Batch>& batches, size_t zstd_bytes) {
  Figure figure{"storage.bytes_per_value_" + set + "_in_a_store", 0, "bytes", 0, Better::lower};
  if (batches.empty()) {
    figure.skipped = set + " is not there (set SKERRY_TEST_DATA)";
    return figure;
  }
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("sealed-" + set));
  double values = 0;
  uint64_t chunk_bytes = 0;
  {
    SKERRY_ASSIGN(auto store, storage::Store::open(options_for(folder / "store"), system_clock()));
    for (size_t i = 0; i < batches.size(); ++i) {
      values += static_cast<double>(batches[i].rows() * batches[i].columns.size());
      SKERRY_TRY(write(*store, batches[i], fmt::format("{}_{}", set, i)));
    }
    SKERRY_TRY(store->seal());
    SKERRY_ASSIGN(const auto streams, store->streams());
    for (const storage::StreamInfo& info : streams) chunk_bytes += info.chunk_bytes;
  }
  SKERRY_TRY(storage::Store::open(options_for(folder / "store"), system_clock()));  // what was obsolete is gone then
  figure.value = static_cast<double>(table_bytes(folder / "store")) / values;
  figure.target = static_cast<double>(zstd_bytes) / values;
  figure.peer = Peer{"zstd_19", figure.value / figure.target};
  std::cout << fmt::format("# {}: {:.4g} bytes per value are chunks with their rows in the index\n", figure.name, static_cast<double>(chunk_bytes) / values);
  return figure;
}

}  // namespace

Result<std::vector<Figure>> sealed_sizes(Size size, const Places&) {
  const std::vector<Batch> motion = test::motionsense_batches(size == Size::full ? SIZE_MAX : kSmokeRecordings);
  const std::vector<Batch> nab = test::nab_batches(), occupancy = test::occupancy_batches();
  std::vector<Figure> figures;
  SKERRY_ASSIGN(Figure first, bytes_per_value("motionsense", motion, test::zstd_bytes(motion, kZstdLevel)));
  SKERRY_ASSIGN(Figure second, bytes_per_value("nab", nab, test::zstd_bytes_apart(nab, kZstdLevel)));
  SKERRY_ASSIGN(Figure third, bytes_per_value("occupancy", occupancy, test::zstd_bytes(occupancy, kZstdLevel)));
  for (Figure* figure : {&first, &second, &third}) {
    figure->judged = size == Size::full;
    figures.push_back(std::move(*figure));
  }
  return figures;
}

Result<std::vector<Figure>> roll_up_speed(Size size, const Places&) {
  const bool full = size == Size::full;
  Figure figure{"storage.roll_up", 0, "Mvalues/s", 0, Better::higher};  // the issue sets no target
  figure.judged = full;
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("roll-up"));
  test::SimClock clock;
  double packing = 0, packed = 0;
  {
    SKERRY_ASSIGN(auto store, storage::Store::open(options_for(folder / "store"), clock));
    SensorSignal signal;
    for (int rows = 0; rows < (full ? kRolledRows : kSmokeRolledRows); rows += 16'000) {
      const Batch batch = signal.next(16'000);
      const Stopwatch watch;
      SKERRY_TRY(storage::encode_chunk(batch));
      packing += watch.seconds();
      packed += static_cast<double>(batch.rows() * batch.columns.size());
      SKERRY_TRY(write(*store, batch, "imu"));
    }
    SKERRY_TRY(store->seal());
  }
  storage::StreamRule rule;
  rule.on_full = storage::OnFull::roll_up;
  rule.quota_bytes = full ? kRolledQuota : kRolledQuota / 16;
  SKERRY_ASSIGN(auto store, storage::Store::open(options_for(folder / "store", rule), clock));
  // Until all records have lost their own resolution. What follows, from seconds to minutes, takes no time and would count them again.
  const Stopwatch watch;
  const auto all = static_cast<uint64_t>(full ? kRolledRows : kSmokeRolledRows);
  uint64_t before = 0, rolled = 0;
  double seconds = 0;
  for (int quiet = 0; quiet < 5 && rolled < all; quiet = rolled > before ? 0 : quiet + 1) {  // what only waits does not count
    before = rolled;
    clock.advance(std::chrono::seconds(2));
    store->step();
    rolled = 0;
    for (const storage::Loss& loss : store->losses()) rolled += loss.reason == storage::LossReason::rolled_up ? loss.records : 0;
    rolled = std::min(rolled, all);
    if (rolled > before) seconds = watch.seconds();
  }
  if (rolled == 0) return fail(Code::internal, "nothing was rolled up");
  figure.value = static_cast<double>(rolled * SensorSignal::kFields) / seconds / 1e6;
  figure.peer = Peer{"encode_chunk", figure.value / (packed / packing / 1e6)};
  return std::vector<Figure>{figure};
}

}  // namespace skerry::bench
