// Options of inference; config/ fills them from [inference].
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/clock.h"

namespace skerry::inference {

struct QueueOptions {
  uint32_t queue_max = 256;               // requests that wait for one model
  uint32_t instances = 2;                 // runs of one model at the same time
  uint32_t together_max = 8;              // rows of waiting requests that are answered together; 1: each alone
  Duration batch_delay{0};                // how long a request waits for others to be answered with; zero: it never does
  Duration timeout = std::chrono::seconds(10);  // of a request that names none
};

struct Options {
  std::filesystem::path models = "var/models";          // packages: NAME/VERSION/
  std::filesystem::path torch_runtime;                  // libskerry_torch_runtime.so; empty: beside the program
  uint64_t package_bytes_max = 256 << 20;
  uint32_t batch_max = 256;                             // rows of the first dimension in one request
  uint32_t threads = 2;                                 // that answer requests which had to wait
  QueueOptions queue;
};

}  // namespace skerry::inference
