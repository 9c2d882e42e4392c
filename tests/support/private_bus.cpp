#include "tests/support/private_bus.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

extern char** environ;

namespace skerry::test {
namespace {

constexpr int kReadyMilliseconds = 20'000;

}  // namespace

Result<std::unique_ptr<PrivateBus>> PrivateBus::start() {
  std::unique_ptr<PrivateBus> bus(new PrivateBus());
  bus->address_ = "unix:path=" + (bus->folder_ / "bus").string();
  std::ofstream(bus->folder_ / "bus.conf") << "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" "
                                              "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
                                              "<busconfig><type>session</type><listen>"
                                           << bus->address_
                                           << "</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
                                              "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>\n";
  SKERRY_TRY(bus->start_again());
  return bus;
}

Status PrivateBus::start_again() {
  std::error_code ignored;
  std::filesystem::remove(folder_ / "bus", ignored);
  int ready[2];
  if (::pipe(ready) != 0) return fail(Code::unavailable, "no pipe: {}", std::strerror(errno));
  const std::string config = "--config-file=" + (folder_ / "bus.conf").string();
  const std::string print = "--print-address=1";
  std::string program = "dbus-daemon", nofork = "--nofork";
  char* arguments[] = {program.data(), const_cast<char*>(config.c_str()), nofork.data(), const_cast<char*>(print.c_str()), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ready[1], 1);
  ::posix_spawn_file_actions_addclose(&actions, ready[0]);
  const int error = ::posix_spawnp(&pid_, "dbus-daemon", &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ready[1]);
  Status status;
  if (error != 0) {
    pid_ = -1;
    status = fail(Code::not_found, "dbus-daemon does not start ({}): install the package dbus-daemon", std::strerror(error));
  } else {
    pollfd waits{ready[0], POLLIN, 0};
    char line[256];
    if (::poll(&waits, 1, kReadyMilliseconds) <= 0 || ::read(ready[0], line, sizeof(line)) <= 0) status = fail(Code::unavailable, "dbus-daemon does not become ready");
  }
  ::close(ready[0]);
  return status;
}

void PrivateBus::kill9() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

PrivateBus::~PrivateBus() { kill9(); }

}  // namespace skerry::test
