// A writer process that is killed again and again, for real: nothing that it acknowledged is lost, whatever the rule, nothing is there
// twice, and the outbox never skips. Meanwhile the head is sealed into chunks and tables are written.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <set>
#include <thread>

#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/make.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

constexpr int kRounds = 200;
constexpr const char* kStreams[] = {"synced", "paced", "loose"};  // a thread of the writer each, by the rules batch, interval, os
constexpr size_t kThreads = std::size(kStreams);
constexpr int64_t kEffectSpan = 1000;

Options options_of(const std::string& path) {
  Options options;
  options.path = path;
  options.write_buffer_bytes = 64 << 10;
  options.sync_interval = std::chrono::milliseconds(5);
  options.streams = {{"synced", Durability::batch, true}, {"paced", Durability::interval, true}, {"loose", Durability::os, true}};
  return options;
}

size_t rows_of(int64_t number) { return 1 + static_cast<size_t>(number % 37); }
int64_t first_time(int64_t number) { return SimClock().now_ns() - 100'000'000'000 + number * kEffectSpan; }

Effect effect_of(size_t thread, int64_t number) {
  std::vector<std::pair<int64_t, double>> rows;
  for (size_t i = 0; i < rows_of(number); ++i) rows.emplace_back(first_time(number) + static_cast<int64_t>(i), static_cast<double>(number));
  Effect effect;
  effect.batches.push_back(values(kStreams[thread], rows));
  effect.predictions.push_back(prediction("har", 1, kStreams[thread], first_time(number), 1));
  return effect;
}

struct Acknowledged {
  uint64_t thread = 0;
  int64_t number = 0;
};
using Numbers = std::array<int64_t, kThreads>;

// Starts this program again as the writer below.
pid_t start_writer(const std::string& path, const Numbers& from, int pipe) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setenv("SKERRY_WRITER_STORE", path.c_str(), 1);
  for (size_t t = 0; t < kThreads; ++t) ::setenv(("SKERRY_WRITER_FROM_" + std::to_string(t)).c_str(), std::to_string(from[t]).c_str(), 1);
  ::setenv("SKERRY_WRITER_PIPE", std::to_string(pipe).c_str(), 1);
  ::execl("/proc/self/exe", "writer", "kill: the writer", static_cast<char*>(nullptr));
  _exit(127);
}

// What is known from outside the store.
struct Truth {
  std::array<std::set<int64_t>, kThreads> acknowledged;
  std::array<std::set<int64_t>, kThreads> at_hub;  // numbers of effects whose block came out of the outbox
  std::set<uint64_t> predictions_at_hub;
  uint64_t hub_seq = 0, hub_read = 0;
};

// Runs a writer until it has acknowledged `count` effects and a moment more, kills it, and takes over what it had acknowledged.
void run_and_kill(const std::string& path, Random& random, Truth& truth) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Numbers from{};
  for (size_t t = 0; t < kThreads; ++t) {  // also past what was committed and not acknowledged any more
    for (const auto* known : {&truth.acknowledged[t], &truth.at_hub[t]}) {
      if (!known->empty()) from[t] = std::max(from[t], *known->rbegin() + 1);
    }
  }
  const pid_t child = start_writer(path, from, ends[1]);
  REQUIRE(child > 0);
  ::close(ends[1]);
  Acknowledged ack;
  const auto take = [&] { return ::read(ends[0], &ack, sizeof ack) == sizeof ack; };
  for (uint64_t n = 1 + random.below(300); n > 0 && take(); --n) truth.acknowledged[ack.thread].insert(ack.number);
  std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
  ::kill(child, SIGKILL);
  while (take()) truth.acknowledged[ack.thread].insert(ack.number);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

// The hub takes everything that waits, and then acknowledges a part.
void drain(Store& store, Random& random, Truth& truth) {
  auto items = store.outbox_read(OutboxClass::telemetry, truth.hub_seq + 1, UINT64_MAX);
  REQUIRE(items.ok());
  uint64_t seq = truth.hub_seq;
  for (const OutboxItem& item : *items) {
    REQUIRE(item.seq == ++seq);
    if (seq <= truth.hub_read) continue;  // seen before
    if (item.kind == EntryKind::prediction) {
      REQUIRE(truth.predictions_at_hub.insert(number(decode_prediction(item.payload).value().id)).second);
      continue;
    }
    auto batch = decode_block({"x", {}}, item.payload);
    REQUIRE(batch.ok());
    const auto n = static_cast<int64_t>(batch->columns.at(0).number(0));
    REQUIRE(batch->times.front() == first_time(n));
    REQUIRE(batch->rows() == rows_of(n));
    const auto stream = std::find(std::begin(kStreams), std::end(kStreams), Series::parse(item.subject).value().name) - std::begin(kStreams);
    REQUIRE(truth.at_hub.at(static_cast<size_t>(stream)).insert(n).second);
  }
  REQUIRE(seq >= truth.hub_read);
  truth.hub_read = seq;
  truth.hub_seq = seq - random.below(std::min<uint64_t>(seq - truth.hub_seq, 100) + 1);
  if (truth.hub_seq > 0) REQUIRE(store.outbox_acknowledge(OutboxClass::telemetry, truth.hub_seq).ok());
}

// Bytes that are sealed in chunks, once the store has counted them after its start.
uint64_t sealed_bytes(Store& store) {
  while (true) {
    uint64_t sum = 0;
    bool counted = true;
    for (const StreamInfo& info : *store.streams()) {
      counted = counted && info.counted;
      sum += info.chunk_bytes;
    }
    if (counted) return sum;
    store.step();
  }
}

void check(const Store& store, const Truth& truth) {
  uint64_t effects = 0;
  for (size_t t = 0; t < kThreads; ++t) {
    for (int64_t n : truth.acknowledged[t]) REQUIRE(truth.at_hub[t].count(n) == 1);
    REQUIRE(truth.at_hub[t].size() <= truth.acknowledged[t].size() + kRounds);  // one in doubt per kill and thread
    effects += truth.at_hub[t].size();
    uint64_t rows = 0;
    for (int64_t n : truth.at_hub[t]) rows += rows_of(n);
    if (rows == 0) continue;
    auto records = store.read({kStreams[t], {}}, {}, 1 << 24);
    REQUIRE(records.ok());
    REQUIRE(records->rows() == rows);
    for (size_t i = 0; i < rows; ++i) {
      const auto n = static_cast<int64_t>(records->columns.at(0).number(i));
      REQUIRE(truth.at_hub[t].count(n) == 1);
      REQUIRE((records->times[i] >= first_time(n) && records->times[i] < first_time(n) + static_cast<int64_t>(rows_of(n))));
    }
    for (const StreamInfo& info : *store.streams()) {
      if (info.series.name == kStreams[t]) REQUIRE(info.records == rows);
    }
  }
  REQUIRE(truth.predictions_at_hub.size() == effects);
  REQUIRE(store.live_score("har", 1).predictions == effects);
  REQUIRE(store.predictions("har", "", {}, 1 << 24)->size() == effects);
  REQUIRE(store.damaged() == 0);
}

}  // namespace

TEST_CASE("kill: the writer", "[.]") {
  const char* path = std::getenv("SKERRY_WRITER_STORE");
  if (path == nullptr) return;  // only as a child of the next test
  const int pipe = std::atoi(std::getenv("SKERRY_WRITER_PIPE"));
  SimClock clock;
  auto store = Store::open(options_of(path), clock);
  if (!store.ok()) _exit(1);
  std::vector<std::thread> writers;
  for (size_t t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      for (int64_t n = std::atoll(std::getenv(("SKERRY_WRITER_FROM_" + std::to_string(t)).c_str()));; ++n) {
        if (!(*store)->commit(effect_of(t, n)).ok()) _exit(2);
        const Acknowledged ack{t, n};
        if (::write(pipe, &ack, sizeof ack) != sizeof ack) _exit(3);
      }
    });
  }
  while (true) {
    clock.advance(std::chrono::milliseconds(2));
    (*store)->step();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_CASE("kill: 200 times SIGKILL lose nothing that was acknowledged by any rule, repeat nothing and leave no hole in the outbox") {
  // SIGKILL takes nothing from the kernel, so a folder in memory says as much and each round has time for more.
  const std::filesystem::path memory = "/dev/shm";
  const TempDir folder(::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path());
  const std::string path = folder / "store";
  Random random(Catch::rngSeed());
  Truth truth;
  uint64_t sealed = 0;
  for (int round = 1; round <= kRounds; ++round) {
    run_and_kill(path, random, truth);
    SimClock clock;
    auto store = Store::open(options_of(path), clock);
    INFO((store.ok() ? "" : store.error().message));
    REQUIRE(store.ok());
    drain(**store, random, truth);
    if (round % 40 != 0) continue;
    check(**store, truth);
    sealed = std::max(sealed, sealed_bytes(**store));
  }
  CHECK(sealed > 100'000);
  for (const auto& of_thread : truth.acknowledged) CHECK(of_thread.size() > kRounds);
}
