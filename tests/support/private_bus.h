// A D-Bus daemon of one test's own, without services to start and without a network.
// Threads: one owner. Owns: the daemon, killed at the end.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "tests/support/temp_dir.h"

namespace skerry::test {

class PrivateBus {
 public:
  // not_found: there is no dbus-daemon here (package dbus-daemon).
  static Result<std::unique_ptr<PrivateBus>> start();
  ~PrivateBus();
  const std::string& address() const { return address_; }
  void kill9();
  Status start_again();  // at the same address

 private:
  PrivateBus() = default;
  TempDir folder_;
  std::string address_;
  pid_t pid_ = -1;
};

}  // namespace skerry::test
