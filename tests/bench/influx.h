// InfluxDB 1.6 (Debian's influxd) as a peer: a process of ours in a folder of its own, on loopback, without reports, logs, self-monitoring
// or queries that run by themselves. All else is as it comes, but for what Options say.
// Threads: one owner; http::Client objects made from url() may live on other threads.
// Owns: the process and the folder's content; the destructor kills it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "node/cli/http_client.h"
#include "tests/e2e/support/process.h"

namespace skerry::bench {

// influxd: $SKERRY_INFLUXD, or build/peers beside our programs (./bench storage unpacks it there), or /usr/bin. Error: not_found, why.
Result<std::filesystem::path> find_influxd();

class Influx {
 public:
  struct Options {
    std::filesystem::path folder;        // is created
    bool compact_soon = false;           // seconds after the last write rather than hours
  };
  // Ready when it returns. Error: not_found, unavailable.
  static Result<Influx> start(const Options& options);

  const std::string& url() const { return url_; }
  pid_t pid() const { return process_.pid(); }
  // An answer of /query as JSON text. Error: invalid, with what it says.
  Result<std::string> query(const std::string& text, const std::string& database = "");
  // `one_shard`: everything lies in one shard, which suits its compression best; else a shard per week, its default.
  Status create(const std::string& database, bool one_shard);
  Status write(const std::string& database, const std::string& lines);
  Result<uint64_t> count_values(const std::string& database);
  // Waits until each shard is one TSM file and its log is empty. Needs compact_soon. Error: unavailable when that takes too long.
  Result<uint64_t> compacted_bytes(const std::string& database, std::chrono::seconds limit);

 private:
  Influx(std::filesystem::path folder, std::string url, e2e::Process process, std::unique_ptr<http::Client> client)
      : folder_(std::move(folder)), url_(std::move(url)), process_(std::move(process)), client_(std::move(client)) {}

  std::filesystem::path folder_;
  std::string url_;
  e2e::Process process_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace skerry::bench
