// Many threads at once, and a writer that is killed. Also meant to be run under ThreadSanitizer.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <thread>

#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/make.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::FaultFs;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

constexpr OutboxClass kTelemetry = OutboxClass::telemetry;

// Every record of the outbox: time and how often.
std::map<int64_t, int> times_in_outbox(Store& store) {
  std::map<int64_t, int> out;
  auto items = store.outbox_read(kTelemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  for (size_t i = 0; i < items->size(); ++i) {
    REQUIRE((*items)[i].seq == i + 1);
    if ((*items)[i].kind != EntryKind::samples) continue;
    auto batch = decode_block({"x", {}}, (*items)[i].payload);
    REQUIRE(batch.ok());
    for (int64_t time : batch->times) ++out[time];
  }
  return out;
}

Options killed_options(const std::string& path) {
  Options options;
  options.path = path;
  options.write_buffer_bytes = 256 << 10;
  return options;
}

// Starts this program again as the writer below; its acknowledged numbers come through the pipe.
pid_t start_writer(const std::string& path, int64_t from, int pipe) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setenv("SKERRY_WRITER_STORE", path.c_str(), 1);
  ::setenv("SKERRY_WRITER_FROM", std::to_string(from).c_str(), 1);
  ::setenv("SKERRY_WRITER_PIPE", std::to_string(pipe).c_str(), 1);
  ::execl("/proc/self/exe", "writer", "concurrency: the writer that is killed", static_cast<char*>(nullptr));
  _exit(127);
}

}  // namespace

TEST_CASE("concurrency: commits from eight threads are each there once, with a sequence without holes") {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  options.path = folder / "store";
  options.file_system = disk.file_system();
  options.streams = {{"*", Durability::batch, true}};
  auto store = Store::open(options, clock).value();
  constexpr int kThreads = 8, kCommits = 40;
  const int64_t t = clock.now_ns();
  std::atomic<int> failed{0};
  std::atomic<bool> done{false};
  std::thread reader([&] {  // what others do meanwhile
    while (!done) {
      store->step();
      const auto streams = store->streams();
      for (const StreamInfo& info : *streams) {
        if (!store->read(info.series, {}, 100).ok()) ++failed;
      }
      uint64_t last = 0;
      for (const OutboxStatus& s : store->outbox_status()) last = std::max(last, s.last_seq);
      auto items = store->outbox_read(kTelemetry, 1, 10'000);
      if (!items.ok() || (last > 0 && items->empty())) ++failed;
      store->live_score("har", 1);
      (void)store->trouble();
      (void)store->disk_bytes();
    }
  });
  std::vector<std::thread> writers;
  for (int w = 0; w < kThreads; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kCommits; ++i) {
        Effect effect;
        effect.batches.push_back(values("m" + std::to_string(w % 3), {{t + w * 1000 + i, 1.0 * i}}));
        effect.predictions.push_back(prediction("har", 1, "m0", t, 1));
        if (!store->commit(effect).ok()) ++failed;
      }
    });
  }
  for (std::thread& w : writers) w.join();
  done = true;
  reader.join();
  CHECK(failed == 0);
  CHECK(store->live_score("har", 1).predictions == kThreads * kCommits);
  const auto copies = times_in_outbox(*store);
  CHECK(copies.size() == kThreads * kCommits);
  for (const auto& [time, n] : copies) CHECK(n == 1);
  CHECK(disk.counts().syncs <= 3 * kThreads * kCommits);
}

TEST_CASE("concurrency: the writer that is killed", "[.]") {
  const char* path = std::getenv("SKERRY_WRITER_STORE");
  if (path == nullptr) return;  // only as a child of the next test
  const int pipe = std::atoi(std::getenv("SKERRY_WRITER_PIPE"));
  SimClock clock;
  auto store = Store::open(killed_options(path), clock);
  if (!store.ok()) _exit(1);
  for (int64_t i = std::atoll(std::getenv("SKERRY_WRITER_FROM"));; ++i) {
    Effect effect;
    effect.batches.push_back(values("m", {{clock.now_ns() + i, static_cast<double>(i)}}));
    effect.predictions.push_back(prediction("har", 1, "m", i, 1));
    if (!(*store)->commit(effect).ok()) _exit(2);
    if (i % 7 == 0) (*store)->step();
    if (::write(pipe, &i, sizeof i) != sizeof i) _exit(3);
  }
}

TEST_CASE("concurrency: a writer killed with SIGKILL has lost nothing that it acknowledged") {
  TempDir folder;
  const Options options = killed_options(folder / "store");
  const int64_t t = SimClock().now_ns();
  std::vector<int64_t> acknowledged;
  Random random(Catch::rngSeed());
  for (int round = 0; round < 5; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const int64_t from = acknowledged.empty() ? 0 : acknowledged.back() + 100;
    const pid_t child = start_writer(options.path, from, ends[1]);
    REQUIRE(child > 0);
    ::close(ends[1]);
    int64_t number = 0;
    for (uint64_t n = 20 + random.below(200); n > 0 && ::read(ends[0], &number, sizeof number) == sizeof number; --n) {
      acknowledged.push_back(number);
    }
    ::kill(child, SIGKILL);
    while (::read(ends[0], &number, sizeof number) == sizeof number) acknowledged.push_back(number);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
  }
  REQUIRE(acknowledged.size() > 100);
  SimClock clock;
  auto store = Store::open(options, clock).value();
  const auto copies = times_in_outbox(*store);
  auto records = store->read({"m", {}}, {}, 1 << 20);
  REQUIRE(records.ok());
  CHECK(records->rows() == copies.size());
  for (int64_t i : acknowledged) REQUIRE(copies.count(t + i) == 1);
  for (const auto& [time, n] : copies) REQUIRE(n == 1);
  CHECK(store->live_score("har", 1).predictions == records->rows());
  CHECK(store->predictions("har", "m", {}, 1 << 20)->size() == records->rows());
  CHECK(records->rows() <= acknowledged.size() + 5);  // at most one unacknowledged effect per kill
}
