// Asks an HTTP server the same thing again and again over some connections, each the next time when its answer is whole, all in one thread: so
// that little of what is measured is the client.
// On failure: unavailable (the connection, or no answer in time); an answer that is not 200 is counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::bench {

struct Load {
  uint16_t port = 0;
  std::string request;       // all of it, with its header
  uint32_t connections = 1;
  uint32_t warm_up = 200;    // answers that are not counted
  uint32_t answers = 2000;
};

struct LoadOutcome {
  std::vector<double> micros;  // of each answer
  double seconds = 0;
  uint64_t failed = 0;         // not 200
  std::string last_failure;
};

std::string http_post(const std::string& target, const std::string& headers, const std::string& body);
Result<LoadOutcome> run_load(const Load& load);

}  // namespace skerry::bench
