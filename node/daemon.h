// skerryd: a Node with its loops and its REST server, until a signal or the given time ends it.
// Threads: the caller's waits for signals; one per loop (sources, pipelines, store, learning, sync), one for HTTP and http.threads for its handlers.
// On failure: a start that fails says why on stderr and returns 1. A stop takes a few seconds at most: an exchange with the hub that
// still waits for its answer is left, the hub recognises what is sent again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/clock.h"
#include "config/config.h"

namespace skerry::node {

struct DaemonOptions {
  std::optional<Duration> run_for;                 // ends by itself
  std::optional<uint16_t> port;                    // instead of [http] port; 0: any free one
  std::optional<std::filesystem::path> data_dir;   // instead of [node] data_dir; what lay in that moves along
  std::optional<std::string> hub;                  // instead of [sync] hub
};

// Pure: the configuration with the options of the command line.
config::Config apply(const DaemonOptions& options, config::Config config);

// Prints "skerryd: listening on http://ADDRESS:PORT" when everything is loaded and requests are answered, and a summary at the end.
// Returns the exit code. Blocks SIGINT and SIGTERM in the calling thread: call it from main only.
int run_daemon(const config::Config& config, std::optional<Duration> run_for);

}  // namespace skerry::node
