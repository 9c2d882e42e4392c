// Options of sync; config/ fills them from [sync].
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "sync/policy_options.h"

namespace skerry::sync {

// How node and hub prove themselves to each other; paths of files, empty: none. Read again for every new connection.
struct Proofs {
  std::string ca;                                     // PEM: of the hub's certificate; empty: the system's authorities
  std::string certificate, key;                       // PEM: of this node
  std::string token;                                  // one line (RFC 6750)
  bool operator==(const Proofs&) const = default;
};

struct Options {
  bool enabled = true;
  std::string hub = "http://127.0.0.1:8470";
  Proofs proofs;
  uint64_t rate_bytes_per_second = 0;                 // cap on the uplink; 0: none
  uint64_t burst_bytes = 256 << 10;
  uint64_t batch_bytes_max = 256 << 10;               // before compression
  Duration request_timeout = std::chrono::seconds(15);
  Duration backoff_min = std::chrono::milliseconds(500);
  Duration backoff_max = std::chrono::minutes(2);     // decorrelated jitter between them
  Duration probe_interval = std::chrono::seconds(10); // HELLO when there is nothing to send
  std::string policy_file;                            // watched for changes; empty: none
  Policy policy;
};

}  // namespace skerry::sync
