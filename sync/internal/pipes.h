// Kept-alive HTTP/1.1 connections over which POSTs go one behind the other without waiting for the answers (pipelining, RFC 9112, section 9.3.2):
// one per route and lane. All bytes move on the calling thread, inside wait(), begin() and give_up().
// Threads: one.
// On failure: a connection that breaks, an answer that is none, or no answer in time ends the connection and every request on it, each told
// once; nothing is tried again here. Answers have at most 1 MiB and their headers 16 KiB.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/options.h"
#include "sync/uplink.h"

namespace skerry::sync::internal {

struct PipeTarget {
  std::string host, port, path;     // "hub.example.org", "8470", "/v1/sync/batch"
  bool tls = false;
  Proofs proofs;                    // read for each connection
};

struct Piped {                      // what became of a request
  uint64_t ticket = 0;
  int status = 0;                   // of HTTP; 0: no answer, `text` says why
  std::string text;                 // the answer's body
  Traffic traffic;
};

class Pipes {
 public:
  Pipes(PipeTarget target, Duration timeout);
  ~Pipes();
  void begin(const Route& route, Lane lane, uint64_t ticket, std::string body);
  void prepare(const Route& route, Lane lane);  // begins to connect
  // What came by now; when nothing did and something is on its way, waits for the first.
  std::vector<Piped> wait(Duration at_most);
  std::vector<Piped> give_up();
  void close_idle();                // connections without requests on them

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Ties a socket to its bearer. A socket that cannot be tied must not be used: its bytes would go over another, and cost there.
Status tie(int fd, bool ipv6, const Route& route);
bool is_tied(const Route& route);

}  // namespace skerry::sync::internal
