// The support that everything here stands on: a child that is watched and killed as it should be.
#include "tests/e2e/support/process.h"

#include <signal.h>

#include <catch2/catch.hpp>

#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::e2e;

TEST_CASE("process: a line that it prints is found, and what it says is kept") {
  test::TempDir log;
  auto process = Process::start("/bin/sh", {"-c", "echo one; echo listening on 7 >&2; exec sleep 30"}, log.path());
  REQUIRE(process.ok());
  auto line = process.value().wait_for_line("listening on", milliseconds(5000));
  REQUIRE(line.ok());
  CHECK(line.value() == "listening on 7");
  CHECK(process.value().running());
  CHECK(process.value().resident_bytes() > 0);
  auto exit = process.value().terminate(milliseconds(5000));
  REQUIRE(exit.has_value());
  CHECK(exit->signal == SIGTERM);
  CHECK(process.value().output() == "one\nlistening on 7\n");
}

TEST_CASE("process: one that ends before its line is reported with its exit code and its last words") {
  test::TempDir log;
  auto process = Process::start("/bin/sh", {"-c", "echo no such port; exit 3"}, log.path());
  REQUIRE(process.ok());
  auto line = process.value().wait_for_line("listening on", milliseconds(5000));
  REQUIRE_FALSE(line.ok());
  CHECK(line.error().message.find("exit code 3") != std::string::npos);
  CHECK(line.error().message.find("no such port") != std::string::npos);
}

TEST_CASE("process: one that ignores SIGTERM is killed, and that is told apart") {
  test::TempDir log;
  auto process = Process::start("/bin/sh", {"-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"}, log.path());
  REQUIRE(process.ok());
  REQUIRE(process.value().wait_for_line("up", milliseconds(5000)).ok());
  CHECK_FALSE(process.value().terminate(milliseconds(300)).has_value());
  CHECK_FALSE(process.value().running());
}

TEST_CASE("process: a restart does not find the line of the run before") {
  test::TempDir log;
  for (int run = 0; run < 2; ++run) {
    auto process = Process::start("/bin/sh", {"-c", run == 0 ? "echo ready" : "sleep 0.2; echo late"}, log.path());
    REQUIRE(process.ok());
    CHECK(process.value().wait_for_line("ready", milliseconds(2000)).ok() == (run == 0));
  }
}

TEST_CASE("process: a program that is not there is named") {
  test::TempDir log;
  auto process = Process::start("skerry-nothing", {}, log.path());
  REQUIRE_FALSE(process.ok());
  CHECK(process.error().message.find("skerry-nothing") != std::string::npos);
}
