// A TCP proxy on loopback between two real programs, for the ways a link fails: refused, silent, cut in the middle, slow, and - the
// maker of duplicates - a request that arrives whole while its answer is lost.
// Threads: one of its own; every method may be called from any thread and is in force when it returns.
// Owns: its listening port, which stays the same in every mode. The target may come and go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace skerry::test {

class ChaosProxy {
 public:
  // listen_port 0: any free port. Error: unavailable.
  static Result<std::unique_ptr<ChaosProxy>> start(std::string target_host, uint16_t target_port, uint16_t listen_port = 0);
  ~ChaosProxy();
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;

  uint16_t port() const;
  std::string url() const;                         // "http://127.0.0.1:PORT"

  // --- modes; a change resets the connections that are open (not pass())
  void pass();                                     // also forgets pending cuts and swallows, and the rate
  void down();                                     // each connection is reset at once
  void blackhole();                                // accepted, read, never answered; nothing reaches the target

  // --- one-time faults, while passing
  void swallow_responses(int n);                   // the target gets n requests whole; the client gets a reset, no byte of the answer
  void hang_responses(int n);                      // the same, but the client hears nothing at all and the connection stays open
  void cut_request_after(uint64_t bytes);          // the next connection that sends so much is reset; the target got that much
  void cut_response_after(uint64_t bytes);         // the client got that much of an answer, then a reset
  void rate(uint64_t bytes_per_second);            // each direction of each connection; 0: as fast as it goes
  void retarget(uint16_t target_port);             // for connections from now on
  void reset_connections();

  // --- what happened
  uint64_t accepted() const;
  uint64_t swallowed() const;                      // answers that were swallowed or hung
  uint64_t cut() const;
  uint64_t bytes_up() const;                       // forwarded to the target
  uint64_t bytes_down() const;                     // forwarded to the client

 private:
  struct Impl;
  explicit ChaosProxy(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace skerry::test
