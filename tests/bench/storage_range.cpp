#include "tests/bench/storage_range.h"

#include <atomic>
#include <cmath>
#include <functional>
#include <iostream>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "storage/aggregate.h"
#include "storage/store.h"
#include "tests/bench/influx.h"
#include "tests/bench/rounds.h"
#include "tests/bench/sensor_signal.h"
#include "tests/e2e/support/gateway.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kRowsPerHour = 360'000, kRowsPerCommit = 1000, kLinesPerBody = 5000, kClients = 2;

struct Extent {
  size_t hours = 24;
  size_t rows() const { return hours * kRowsPerHour; }
  size_t minutes() const { return hours * 60; }
  int64_t to_ns() const { return SensorSignal::kStart + static_cast<int64_t>(rows()) * SensorSignal::kStep; }
};

struct Sum {  // of an answer: how many minutes, and all their means
  size_t minutes = 0;
  double means = 0;
};

class Adder final : public storage::RecordVisitor {
 public:
  Status rows(const Batch& batch, size_t from, size_t to) override {
    sum.minutes += to - from;
    for (const Column& column : batch.columns) {
      for (size_t i = from; i < to; ++i) sum.means += column.number(i);
    }
    return {};
  }
  Sum sum;
};

Status load_skerry(const fs::path& folder, const Extent& extent) {
  storage::Options options;
  options.path = folder;
  options.streams = {{.name = "*", .durability = storage::Durability::os, .sync = false}};
  SKERRY_ASSIGN(auto store, storage::Store::open(options, system_clock()));
  SensorSignal signal;
  for (size_t at = 0; at < extent.rows(); at += kRowsPerCommit) {
    storage::Effect effect;
    effect.batches.push_back(signal.next(kRowsPerCommit));
    SKERRY_TRY(store->commit(effect));
    store->step();
  }
  return store->seal();
}

void append_lines(const Batch& batch, std::string& body) {
  for (size_t i = 0; i < batch.rows(); ++i) {
    for (size_t f = 0; f < batch.columns.size(); ++f) {
      fmt::format_to(std::back_inserter(body), "{}f{}={:.3f}", f == 0 ? "imu " : ",", f, std::get<0>(batch.columns[f].values)[i]);
    }
    fmt::format_to(std::back_inserter(body), " {}\n", batch.times[i]);
  }
}

Status load_influx(Influx& influx, const Extent& extent) {
  SKERRY_TRY(influx.create("bench", false));
  SensorSignal signal;
  std::mutex mutex;  // guards the signal and what is left
  size_t left = extent.rows() / kLinesPerBody;
  std::vector<Status> outcomes(kClients);
  std::vector<std::thread> clients;
  for (Status& outcome : outcomes) {
    clients.emplace_back([&] {
      outcome = [&]() -> Status {
        SKERRY_ASSIGN(auto client, http::Client::open(influx.url(), {.timeout = std::chrono::seconds(60)}));
        while (true) {
          Batch batch;
          {
            std::lock_guard lock(mutex);
            if (left == 0) return {};
            --left;
            batch = signal.next(kLinesPerBody);
          }
          std::string body;
          append_lines(batch, body);
          SKERRY_ASSIGN(http::Response answer, client->request("POST", "/write?db=bench", body));
          if (answer.status != 204) return fail(Code::invalid, "influxd refuses lines: {} {}", answer.status, answer.body.substr(0, 300));
        }
      }();
    });
  }
  for (std::thread& client : clients) client.join();
  for (const Status& outcome : outcomes) SKERRY_TRY(outcome);
  auto compacted = influx.compacted_bytes("bench", std::chrono::seconds(45));
  if (!compacted.ok()) std::cout << "# storage.range_24h: " << compacted.error().message << std::endl;
  return {};
}

Result<Sum> ask_store(const storage::Store& store, const Extent& extent) {
  storage::AggregateQuery query;
  query.series.name = "imu";
  query.range = {SensorSignal::kStart, extent.to_ns()};
  query.bucket = std::chrono::minutes(1);
  SKERRY_ASSIGN(query.functions, storage::parse_aggregates("mean"));
  Adder adder;
  SKERRY_TRY(storage::aggregate(store, query, adder));
  return adder.sum;
}

Result<Sum> add_up(const std::string& text, const char* rows, const std::vector<std::string>& path) {
  Sum sum;
  try {
    const json answer = json::parse(text);
    const json* at = &answer;
    for (const std::string& step : path) at = step == "0" ? &at->at(0) : &at->at(step);
    for (const json& row : at->at(rows)) {
      ++sum.minutes;
      for (size_t i = 1; i < row.size(); ++i) sum.means += row[i].get<double>();  // the first is a time
    }
  } catch (const json::exception& e) {
    return fail(Code::corrupt, "an answer that is not understood: {}: {}", e.what(), text.substr(0, 300));
  }
  return sum;
}

// Milliseconds of `ask`, which gives the answer as text; `read` turns it into a sum and is not timed.
template <typename Ask, typename Read>
Status time_once(const Ask& ask, const Read& read, std::vector<double>& milliseconds, Sum& sum) {
  const Stopwatch watch;
  SKERRY_ASSIGN(auto answer, ask());
  milliseconds.push_back(watch.seconds() * 1000);
  SKERRY_ASSIGN(sum, read(answer));
  return {};
}

Status compare(const Sum& ours, const Sum& theirs, const Extent& extent) {
  if (ours.minutes != extent.minutes()) return fail(Code::internal, "ours has {} minutes", ours.minutes);
  if (theirs.minutes != extent.minutes()) return fail(Code::internal, "influxd has {} minutes", theirs.minutes);
  if (std::abs(ours.means - theirs.means) < 1e-6 * static_cast<double>(extent.minutes())) return {};
  return fail(Code::internal, "the means add up to {} and to {} of influxd", ours.means, theirs.means);
}

}  // namespace

Result<std::vector<Figure>> range_24h(Size size, const Places&) {
  const Extent extent{size == Size::full ? 24u : 1u};
  const int rounds = size == Size::full ? 5 : 1;
  std::vector<Figure> figures = {{"storage.range_24h", 0, "ms", 0, Better::lower}, {"storage.range_24h_store", 0, "ms", 0, Better::lower}};
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("range"));
  const e2e::DaemonOptions options;
  e2e::Daemon daemon(folder / "node", options);
  SKERRY_TRY(load_skerry(daemon.store(), extent));
  std::optional<Influx> influx;
  if (auto program = find_influxd(); program.ok()) {
    SKERRY_ASSIGN(influx, Influx::start({.folder = folder / "influx", .compact_soon = true}));
    SKERRY_TRY(load_influx(*influx, extent));
  } else {
    for (Figure& figure : figures) figure.skipped = program.error().message;
  }
  const auto ask_influx = [&] {
    return influx->query(fmt::format("SELECT mean(*) FROM imu WHERE time >= {} AND time < {} GROUP BY time(1m)", SensorSignal::kStart, extent.to_ns()), "bench");
  };
  const auto read_influx = [](const std::string& text) { return add_up(text, "values", {"results", "0", "series", "0"}); };
  std::vector<double> http, store_only, peer;
  Sum ours, theirs;
  {
    storage::Options open;
    open.path = daemon.store();
    SKERRY_ASSIGN(auto store, storage::Store::open(open, system_clock()));
    for (int round = 0; round < rounds; ++round) {
      SKERRY_TRY(time_once([&] { return ask_store(*store, extent); }, [](Sum sum) { return Result<Sum>(sum); }, store_only, ours));
      if (influx) SKERRY_TRY(time_once(ask_influx, read_influx, peer, theirs));
      if (influx) SKERRY_TRY(compare(ours, theirs, extent));
    }
  }
  SKERRY_TRY(daemon.start());
  SKERRY_ASSIGN(auto client, http::Client::open(daemon.url(), {.timeout = std::chrono::seconds(60)}));
  const auto ask_skerry = [&]() -> Result<std::string> {
    SKERRY_ASSIGN(http::Response answer, client->request("GET", fmt::format("/v1/query?series=imu&aggregate=mean&bucket=1m&limit=all&from={}&to={}",
                                                                            SensorSignal::kStart, extent.to_ns())));
    if (answer.status != 200) return fail(Code::invalid, "skerryd answered {}: {}", answer.status, answer.body.substr(0, 300));
    return answer.body;
  };
  for (int round = 0; round < rounds; ++round) {
    SKERRY_TRY(time_once(ask_skerry, [](const std::string& text) { return add_up(text, "rows", {}); }, http, ours));
    if (influx) SKERRY_TRY(time_once(ask_influx, read_influx, peer, theirs));
    if (influx) SKERRY_TRY(compare(ours, theirs, extent));
  }
  figures[0].value = median(http);
  figures[1].value = median(store_only);
  for (Figure& figure : figures) {
    figure.judged = size == Size::full;
    figure.target = 0.25 * median(peer);
    if (influx) figure.peer = Peer{"influxdb", figure.value / median(peer)};
  }
  return figures;
}

}  // namespace skerry::bench
