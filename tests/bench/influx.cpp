#include "tests/bench/influx.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "tests/e2e/support/gateway.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds kStartLimit{20};
constexpr std::chrono::seconds kSettled{6};  // no file has changed for so long: compaction is over

std::string config_text(const Influx::Options& options, uint16_t port, uint16_t rpc_port) {
  const std::string folder = options.folder.string();
  std::string text = fmt::format(
      "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n"
      "[meta]\n  dir = \"{}/meta\"\n  logging-enabled = false\n"
      "[data]\n  dir = \"{}/data\"\n  wal-dir = \"{}/wal\"\n  query-log-enabled = false\n",
      rpc_port, folder, folder, folder);
  if (options.compact_soon) text += "  cache-snapshot-write-cold-duration = \"1s\"\n  compact-full-write-cold-duration = \"2s\"\n";
  text += fmt::format(
      "[monitor]\n  store-enabled = false\n[subscriber]\n  enabled = false\n[continuous_queries]\n  enabled = false\n"
      "[http]\n  bind-address = \"127.0.0.1:{}\"\n  log-enabled = false\n[logging]\n  level = \"error\"\n",
      port);
  return text;
}

struct Files {
  uint64_t tsm_bytes = 0, log_bytes = 0, size_sum = 0;
  size_t most_per_shard = 0;
  bool operator==(const Files&) const = default;
};

// A compaction may take a file away while we look: it is then not counted, and the next look differs.
Files files_of(const fs::path& folder, const std::string& database) {
  Files files;
  std::map<fs::path, size_t> per_shard;
  std::error_code ignored;
  for (const char* kind : {"data", "wal"}) {
    for (fs::recursive_directory_iterator at(folder / kind / database, ignored), end; at != end; at.increment(ignored)) {
      if (!at->is_regular_file(ignored)) continue;
      const uint64_t size = at->file_size(ignored);
      if (ignored) continue;
      const std::string ending = at->path().extension();
      files.size_sum += size;
      if (ending == ".wal") files.log_bytes += size;
      if (ending == ".tmp") files.most_per_shard = SIZE_MAX;
      if (ending != ".tsm") continue;
      files.tsm_bytes += size;
      files.most_per_shard = std::max(files.most_per_shard, ++per_shard[at->path().parent_path()]);
    }
  }
  return files;
}

}  // namespace

Result<fs::path> find_influxd() {
  if (const char* given = std::getenv("SKERRY_INFLUXD")) return fs::path(given);
  const fs::path peers = e2e::program_folder() / "../../peers";
  std::error_code ignored;
  for (const fs::path& path : {peers / "influxdb/usr/bin/influxd", fs::path("/usr/bin/influxd")}) {
    if (fs::exists(path, ignored)) return path;
  }
  auto why = read_file(peers / "influxdb.missing", 4096);
  std::string reason = why.ok() ? *why : "./bench storage would fetch it";
  while (!reason.empty() && reason.back() == '\n') reason.pop_back();
  return fail(Code::not_found, "InfluxDB is not there: {} (or set SKERRY_INFLUXD to influxd)", reason);
}

Result<Influx> Influx::start(const Options& options) {
  SKERRY_ASSIGN(const fs::path program, find_influxd());
  fs::create_directories(options.folder);
  const uint16_t port = e2e::free_port(), rpc_port = e2e::free_port();
  const fs::path config = options.folder / "influxdb.conf";
  SKERRY_TRY(write_file_atomic(config, config_text(options, port, rpc_port)));
  SKERRY_ASSIGN(e2e::Process process, e2e::Process::start(program.string(), {"-config", config.string()}, options.folder));
  const std::string url = fmt::format("http://127.0.0.1:{}", port);
  SKERRY_ASSIGN(auto client, http::Client::open(url, {.timeout = std::chrono::seconds(60)}));
  for (const auto until = Steady::now() + kStartLimit;;) {
    auto answer = client->request("GET", "/ping");
    if (answer.ok() && answer->status == 204) return Influx(options.folder, url, std::move(process), std::move(client));
    if (!process.running() || Steady::now() > until) {
      return fail(Code::unavailable, "influxd does not answer; it said:\n{}", process.tail());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Result<std::string> Influx::query(const std::string& text, const std::string& database) {
  SKERRY_ASSIGN(http::Response answer, client_->request("POST", fmt::format("/query?db={}&q={}", http::percent_encode(database),
                                                                           http::percent_encode(text))));
  if (answer.status != 200 || answer.body.find("\"error\"") != std::string::npos) {
    return fail(Code::invalid, "influxd refuses '{}': {} {}", text, answer.status, answer.body.substr(0, 300));
  }
  return answer.body;
}

Status Influx::create(const std::string& database, bool one_shard) {
  const char* rule = one_shard ? " WITH DURATION INF REPLICATION 1 SHARD DURATION 5200w NAME \"whole\"" : "";
  SKERRY_TRY(query(fmt::format("CREATE DATABASE \"{}\"{}", database, rule)));
  return {};
}

Status Influx::write(const std::string& database, const std::string& lines) {
  SKERRY_ASSIGN(http::Response answer, client_->request("POST", "/write?db=" + http::percent_encode(database), lines));
  if (answer.status != 204) return fail(Code::invalid, "influxd refuses lines: {} {}", answer.status, answer.body.substr(0, 300));
  return {};
}

Result<uint64_t> Influx::count_values(const std::string& database) {
  SKERRY_ASSIGN(const std::string text, query("SELECT count(*) FROM /.*/", database));
  uint64_t sum = 0;
  try {
    const json answer = json::parse(text);
    const json& result = answer.at("results").at(0);
    if (!result.contains("series")) return sum;
    for (const json& series : result.at("series")) {
      const json& row = series.at("values").at(0);
      for (size_t i = 1; i < row.size(); ++i) sum += row[i].get<uint64_t>();  // the first is a time
    }
  } catch (const json::exception& e) {
    return fail(Code::corrupt, "a count of influxd: {}", e.what());
  }
  return sum;
}

Result<uint64_t> Influx::compacted_bytes(const std::string& database, std::chrono::seconds limit) {
  const auto until = Steady::now() + limit;
  Files seen = files_of(folder_, database);
  auto since = Steady::now();
  while (Steady::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    const Files now = files_of(folder_, database);
    if (now != seen) {
      seen = now;
      since = Steady::now();
    } else if (Steady::now() - since > kSettled && now.tsm_bytes > 0 && now.log_bytes == 0 && now.most_per_shard == 1) {
      return now.tsm_bytes;
    }
  }
  return fail(Code::unavailable, "influxd has not compacted '{}' within {} s: {} bytes of log, up to {} files in a shard", database,
              limit.count(), seen.log_bytes, seen.most_per_shard);
}

}  // namespace skerry::bench
