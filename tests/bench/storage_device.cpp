#include "tests/bench/storage_device.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "storage/store.h"
#include "tests/bench/rounds.h"
#include "tests/bench/sensor_signal.h"
#include "tests/e2e/support/process.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;

constexpr size_t kValues = 100'000'000, kPredictions = 100'000, kRowsPerCommit = 1000, kPredictionsPerCommit = 1000;
constexpr int kSecondsPerDay = 24 * 3600;

uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

storage::Effect predictions(size_t from) {
  storage::Effect effect;
  for (size_t i = 0; i < kPredictionsPerCommit; ++i) {
    storage::Prediction& p = effect.predictions.emplace_back();
    p.model = "har";
    p.version = 1;
    p.series = "imu";
    p.window.from_ns = SensorSignal::kStart + static_cast<int64_t>(from + i) * 1'000'000'000;
    p.window.to_ns = p.window.from_ns + 1'280'000'000;
    p.window_rows = 128;
    p.at_ns = p.window.to_ns;
    p.scores = {0.1f, 0.2f, 0.3f, 0.1f, 0.2f, 0.1f};
    p.top = 2;
  }
  effect.durability = storage::Durability::os;
  return effect;
}

Status build_large(const fs::path& folder, size_t values, size_t prediction_count) {
  storage::Options options;
  options.path = folder;
  options.streams = {{.name = "*", .durability = storage::Durability::os}};
  SKERRY_ASSIGN(auto store, storage::Store::open(options, system_clock()));
  SensorSignal signal;
  for (size_t done = 0, at = 0; done < values; done += kRowsPerCommit * SensorSignal::kFields) {
    storage::Effect effect;
    effect.batches.push_back(signal.next(kRowsPerCommit));
    SKERRY_TRY(store->commit(effect));
    if (at < prediction_count) SKERRY_TRY(store->commit(predictions(at)));
    at += kPredictionsPerCommit;
    store->step();
  }
  return store->seal();
}

uint64_t sealed_bytes(const std::vector<storage::StreamInfo>& streams) {
  uint64_t sum = 0;
  for (const storage::StreamInfo& info : streams) sum += info.chunk_bytes;
  return sum;
}

}  // namespace

int open_store_and_report(const fs::path& path) {
  storage::Options options;
  options.path = path;
  const uint64_t before = resident_bytes();
  const Stopwatch watch;
  auto store = storage::Store::open(options, system_clock());
  const double milliseconds = watch.seconds() * 1000;
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return 1;
  }
  std::printf("opened %.3f %lld\n", milliseconds, static_cast<long long>(resident_bytes()) - static_cast<long long>(before));
  return 0;
}

Result<std::vector<Figure>> open_large(Size size, const Places&) {
  const bool full = size == Size::full;
  std::vector<Figure> figures = {{"storage.open_ms", 0, "ms", 300, Better::lower}, {"storage.open_rss_mb", 0, "MB", 32, Better::lower}};
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("open"));
  SKERRY_TRY(build_large(folder / "store", full ? kValues : kValues / 100, full ? kPredictions : kPredictions / 100));
  fs::create_directories(folder / "log");
  std::vector<double> milliseconds, megabytes;
  for (int round = 0; round < (full ? 5 : 1); ++round) {
    SKERRY_ASSIGN(auto child, e2e::Process::start("skerry-bench", {"--open-store", (folder / "store").string()}, folder / "log"));
    if (auto exit = child.wait(std::chrono::seconds(60)); !exit || exit->code != 0) {
      return fail(Code::unavailable, "the store could not be opened:\n{}", child.tail());
    }
    std::istringstream line(child.output());
    std::string word;
    double took = 0, grown = 0;
    if (!(line >> word >> took >> grown) || word != "opened") return fail(Code::internal, "the child says '{}'", child.output());
    milliseconds.push_back(took);
    megabytes.push_back(grown / (1 << 20));
  }
  figures[0].value = median(milliseconds);
  figures[1].value = median(megabytes);
  for (Figure& figure : figures) figure.judged = full;
  return figures;
}

Result<std::vector<Figure>> device_bytes(Size size, const Places&) {
  Figure figure{"storage.device_bytes_per_sealed_byte", 0, "bytes/byte", 3, Better::lower};
  figure.judged = size == Size::full;
  const fs::path memory = "/dev/shm";  // what is handed over is the same, and a day has 86,400 syncs
  const test::TempDir folder(::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path());
  test::SimClock clock;
  storage::Options options;
  options.path = folder / "store";
  options.streams = {{.name = "*", .durability = storage::Durability::interval}};
  SKERRY_ASSIGN(auto store, storage::Store::open(options, clock));
  SensorSignal signal;
  for (int second = 0; second < (size == Size::full ? kSecondsPerDay : 600); ++second) {
    storage::Effect effect;
    effect.batches.push_back(signal.next(100));
    SKERRY_TRY(store->commit(effect));
    for (Duration passed{0}; passed < std::chrono::seconds(1);) {
      const Duration delay = std::clamp<Duration>(store->step(), std::chrono::milliseconds(50), std::chrono::seconds(1) - passed);
      clock.advance(delay);
      passed += delay;
    }
  }
  SKERRY_TRY(store->seal());
  SKERRY_ASSIGN(const auto streams, store->streams());
  const double sealed = static_cast<double>(sealed_bytes(streams)), written = static_cast<double>(store->wear().written_bytes);
  if (sealed == 0) return fail(Code::internal, "nothing was sealed");
  figure.value = written / sealed;
  std::cout << fmt::format("# storage.device_bytes_per_sealed_byte: {:.4g} MB written, {:.4g} MB sealed, {:.4g} MB of records\n", written / 1e6,
                           sealed / 1e6, static_cast<double>(store->wear().taken_bytes) / 1e6);
  return std::vector<Figure>{figure};
}

}  // namespace skerry::bench
