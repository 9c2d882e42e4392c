// The real launcher over small shell scripts.
#include <catch2/catch.hpp>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "learning/trigger.h"
#include "learning/worker_process.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::test::TempDir;

namespace {

std::filesystem::path script(const TempDir& dir, const std::string& body) {
  std::filesystem::path path = dir / "worker.sh";
  REQUIRE(write_file_atomic(path, "#!/bin/sh\n" + body + "\n").ok());
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

WorkerExit wait_for(WorkerLauncher& worker) {
  while (true) {
    if (auto exit = worker.poll()) return *exit;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

TEST_CASE("worker: it gets `run FOLDER`, no input, the lowest priority, and is known to be gone") {
  TempDir dir;
  auto worker = make_worker_launcher(script(dir, "cat; echo $1 $2 > $2/seen; ps -o cls= -p $$ >> $2/seen; cat /proc/self/oom_score_adj >> $2/seen"));
  REQUIRE(worker->start(dir.path()).ok());
  CHECK(worker->start(dir.path()).error().code == Code::unavailable);
  CHECK(wait_for(*worker).ok);
  auto seen = read_file(dir / "seen", 1000);
  REQUIRE(seen.ok());
  CHECK(seen->find("run " + dir.path().string()) == 0);
  CHECK(seen->find("900") != std::string::npos);
  CHECK(worker->memory_bytes() == 0);
}

TEST_CASE("worker: the reason of a failure is its exit code and its last line, and the log is bounded") {
  TempDir dir;
  auto worker = make_worker_launcher(
      script(dir, "i=0; while [ $i -lt 4000 ]; do echo 'a line of complaint that is long enough' >&2; i=$((i+1)); done; echo 'the end' >&2; exit 4"));
  REQUIRE(worker->start(dir.path()).ok());
  WorkerExit exit = wait_for(*worker);
  CHECK_FALSE(exit.ok);
  CHECK(exit.reason == "exit code 4: the end");
  CHECK(std::filesystem::file_size(dir / "worker.log") <= 64 << 10);
}

TEST_CASE("worker: a file without end is refused, and the reason is known") {
  TempDir dir;
  auto worker = make_worker_launcher(script(dir, "LC_ALL=C dd if=/dev/zero of=$2/big bs=1 count=1 seek=2000000000 status=none || exit 5"));
  REQUIRE(worker->start(dir.path()).ok());
  WorkerExit exit = wait_for(*worker);
  CHECK_FALSE(exit.ok);
  CHECK(exit.reason.find("exit code 5") == 0);
  CHECK(exit.reason.find("too large") != std::string::npos);
  CHECK(std::filesystem::file_size(dir / "big") < 2'000'000'000);
}

TEST_CASE("worker: kill ends it at once") {
  TempDir dir;
  auto worker = make_worker_launcher(script(dir, "exec sleep 1000"));
  worker->kill();
  REQUIRE(worker->start(dir.path()).ok());
  CHECK_FALSE(worker->poll().has_value());
  worker->kill();
  CHECK(worker->memory_bytes() == 0);
  REQUIRE(worker->start(dir.path()).ok());
  worker->kill();
}

TEST_CASE("worker: a missing program is unavailable, with the remedy") {
  auto worker = make_worker_launcher("/nowhere/skerry-worker");
  Status status = worker->start("/tmp");
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == Code::unavailable);
  CHECK(status.error().message.find("learning.worker") != std::string::npos);
}

TEST_CASE("load: the real probe answers a share") {
  auto probe = make_load_probe();
  for (int i = 0; i < 3; ++i) {
    LoadSample sample = probe->sample(7);
    CHECK(sample.cpu_others >= 0);
    CHECK(sample.cpu_others <= 1);
    CHECK(sample.requests_per_second == 7);
  }
}
