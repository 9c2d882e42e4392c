// Options of sync; config/ fills them from [sync].
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "sync/policy_options.h"

namespace skerry::sync {

struct Options {
  bool enabled = true;
  std::string hub = "http://127.0.0.1:8470";
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
