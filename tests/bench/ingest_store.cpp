// The store on its own, in process: columnar batches, and small ones that must be on the disk.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "storage/store.h"
#include "tests/bench/rounds.h"
#include "tests/bench/storage_ingest.h"
#include "tests/support/sensor_data.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRowsPerBatch = 1000;
constexpr size_t kThreads = 8, kRowsPerCommit = 10;
constexpr int64_t kStart = 1'764'000'000'000'000'000, kMillisecond = 1'000'000;

// Calls step() when it asks to be called, as the daemon's loop does.
class Stepper {
 public:
  explicit Stepper(storage::Store& store) : thread_([this, &store] {
    while (!stop_) std::this_thread::sleep_for(std::clamp<Duration>(store.step(), kShortest, kLongest));
  }) {}
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;
  ~Stepper() {
    stop_ = true;
    thread_.join();
  }

 private:
  static constexpr Duration kShortest = std::chrono::milliseconds(1), kLongest = std::chrono::milliseconds(200);
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Result<std::unique_ptr<storage::Store>> open_store(const fs::path& folder, storage::Durability durability) {
  storage::Options options;
  options.path = folder;
  options.streams = {{.name = "*", .durability = durability}};
  return storage::Store::open(options, system_clock());
}

// MotionSense as a sensor would hand it over: one series, record after record.
std::vector<Batch> sensor_batches(const std::vector<Batch>& recordings) {
  std::vector<Batch> out;
  for (const Batch& recording : recordings) {
    for (size_t from = 0; from + kRowsPerBatch <= recording.rows(); from += kRowsPerBatch) {
      const auto at = static_cast<std::ptrdiff_t>(from), end = at + static_cast<std::ptrdiff_t>(kRowsPerBatch);
      Batch& batch = out.emplace_back();
      batch.series = recording.series;
      batch.times.assign(recording.times.begin() + at, recording.times.begin() + end);
      for (const Column& column : recording.columns) {
        const auto& values = std::get<0>(column.values);
        batch.columns.push_back({column.name, std::vector<double>(values.begin() + at, values.begin() + end), {}});
      }
    }
  }
  return out;
}

Result<double> values_per_second(const fs::path& folder, const std::vector<storage::Effect>& effects) {
  SKERRY_ASSIGN(auto store, open_store(folder, storage::Durability::interval));
  const Stepper stepper(*store);
  const Stopwatch watch;
  size_t values = 0;
  for (const storage::Effect& effect : effects) {
    SKERRY_TRY(store->commit(effect));
    values += effect.batches[0].rows() * effect.batches[0].columns.size();
  }
  return static_cast<double>(values) / watch.seconds();
}

storage::Effect small_effect(size_t thread, size_t number) {
  storage::Effect effect;
  Batch& batch = effect.batches.emplace_back();
  batch.series.name = "meter";
  batch.series.tags["n"] = std::to_string(thread);
  std::vector<double> values;
  for (size_t i = 0; i < kRowsPerCommit; ++i) {
    batch.times.push_back(kStart + static_cast<int64_t>(number * kRowsPerCommit + i) * kMillisecond);
    values.push_back(static_cast<double>((number * 7 + i * 13) % 1000) / 10);
  }
  batch.columns.push_back({"value", std::move(values), {}});
  return effect;
}

// Calls `commit(thread, number)` from kThreads threads, `each` times in each: calls per second.
Result<double> calls_per_second(size_t each, const std::function<Status(size_t, size_t)>& commit) {
  std::vector<Status> outcomes(kThreads);
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t n = 0; n < each && outcomes[t].ok(); ++n) outcomes[t] = commit(t, n);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = watch.seconds();
  for (const Status& outcome : outcomes) SKERRY_TRY(outcome);
  return static_cast<double>(kThreads * each) / seconds;
}

Result<double> durable_commits(const fs::path& folder, size_t each) {
  SKERRY_ASSIGN(auto store, open_store(folder, storage::Durability::batch));
  const Stepper stepper(*store);
  return calls_per_second(each, [&](size_t thread, size_t number) -> Status {
    SKERRY_TRY(store->commit(small_effect(thread, number)));
    return {};
  });
}

// One thread, as appends to one file can't be made faster by more of them without sharing syncs.
Result<double> plain_appends(const fs::path& file, size_t count) {
  const std::string bytes(small_effect(0, 0).batches[0].bytes(), 'x');
  const int fd = ::open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return fail(Code::unavailable, "can't write {}: {}", file.string(), std::strerror(errno));
  const Stopwatch watch;
  bool good = true;
  for (size_t i = 0; i < count && good; ++i) {
    good = ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && ::fdatasync(fd) == 0;
  }
  const double seconds = watch.seconds();
  ::close(fd);
  if (!good) return fail(Code::unavailable, "can't append to {}: {}", file.string(), std::strerror(errno));
  return static_cast<double>(count) / seconds;
}

}  // namespace

Result<std::vector<Figure>> ingest_columns(Size size, const Places&) {
  Figure figure{"storage.ingest_columns", 0, "Mvalues/s", 5, Better::higher};
  figure.judged = size == Size::full;
  std::vector<Batch> batches = sensor_batches(test::motionsense_batches(size == Size::full ? SIZE_MAX : 4));
  if (batches.empty()) {
    figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return std::vector<Figure>{figure};
  }
  std::vector<storage::Effect> effects;
  for (Batch& batch : batches) effects.emplace_back().batches.push_back(std::move(batch));
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("ingest-columns"));
  std::vector<double> rates;
  for (int round = 0; round < (size == Size::full ? 5 : 1); ++round) {
    SKERRY_ASSIGN(const double values, values_per_second(folder / fmt::format("store-{}", round), effects));
    rates.push_back(values / 1e6);
  }
  figure.value = median(rates);
  return std::vector<Figure>{figure};
}

Result<std::vector<Figure>> durable_batches(Size size, const Places&) {
  const size_t each = size == Size::full ? 1000 : 20;
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("durable"));
  std::vector<double> ours, plain;
  for (int round = 0; round < (size == Size::full ? 5 : 1); ++round) {
    SKERRY_ASSIGN(const double commits, durable_commits(folder / fmt::format("store-{}", round), each));
    ours.push_back(commits);
    SKERRY_ASSIGN(const double appends, plain_appends(folder / fmt::format("plain-{}", round), kThreads * each / 2));
    plain.push_back(appends);
  }
  Figure figure{"storage.durable_batches", median(ours), "batches/s", 4 * median(plain), Better::higher};
  figure.peer = Peer{"fdatasync_each", median(ours) / median(plain)};
  figure.judged = size == Size::full;
  return std::vector<Figure>{figure};
}

}  // namespace skerry::bench
