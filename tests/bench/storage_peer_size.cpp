#include "tests/bench/storage_peer_size.h"

#include <algorithm>
#include <iostream>

#include "node/line_protocol.h"
#include "tests/bench/influx.h"
#include "tests/bench/rounds.h"
#include "tests/bench/storage_codec.h"
#include "tests/support/sensor_data.h"

namespace skerry::bench {
namespace {

constexpr size_t kBodyBytes = 2 << 20;  // influxd takes up to 25 MB
constexpr size_t kSmokeRecordings = 4;
constexpr std::chrono::seconds kCompactionLimit{300};

struct Set {
  std::string name;
  std::vector<Batch> batches;
};

// Lines of at least kBodyBytes at a time go to `database`. Returns how many values were sent.
Result<uint64_t> send(Influx& influx, const std::string& database, const std::vector<Batch>& batches) {
  constexpr size_t kRows = 4096;
  uint64_t values = 0;
  std::string body;
  for (const Batch& batch : batches) {
    for (size_t from = 0; from < batch.rows(); from += kRows) {
      const auto at = static_cast<std::ptrdiff_t>(from), end = static_cast<std::ptrdiff_t>(std::min(batch.rows(), from + kRows));
      Batch piece{.series = batch.series, .times = {batch.times.begin() + at, batch.times.begin() + end}, .columns = {}};
      for (const Column& column : batch.columns) {
        const auto& all = std::get<0>(column.values);
        piece.columns.push_back({column.name, std::vector<double>(all.begin() + at, all.begin() + end), {}});
      }
      values += piece.rows() * piece.columns.size();
      SKERRY_TRY(node::append_line_protocol(piece, body));
      if (body.size() < kBodyBytes) continue;
      SKERRY_TRY(influx.write(database, body));
      body.clear();
    }
  }
  if (!body.empty()) SKERRY_TRY(influx.write(database, body));
  return values;
}

Result<uint64_t> tsm_bytes(Influx& influx, const std::string& database, bool one_shard, const std::vector<Batch>& batches) {
  SKERRY_TRY(influx.create(database, one_shard));
  SKERRY_ASSIGN(const uint64_t sent, send(influx, database, batches));
  SKERRY_ASSIGN(const uint64_t held, influx.count_values(database));
  if (held != sent) return fail(Code::internal, "influxd holds {} of {} values of '{}'", held, sent, database);
  return influx.compacted_bytes(database, kCompactionLimit);
}

Result<Figure> measure(Influx& influx, const Set& set) {
  Figure figure{"storage.bytes_per_value_" + set.name + "_beside_influxdb", 0, "bytes", 0, Better::lower};
  if (set.batches.empty()) {
    figure.skipped = set.name + " is not there (set SKERRY_TEST_DATA)";
    return figure;
  }
  double values = 0;
  for (const Batch& batch : set.batches) values += static_cast<double>(batch.rows() * batch.columns.size());
  SKERRY_ASSIGN(const uint64_t whole, tsm_bytes(influx, set.name, true, set.batches));
  SKERRY_ASSIGN(const uint64_t weekly, tsm_bytes(influx, set.name + "_weekly", false, set.batches));
  SKERRY_ASSIGN(const uint64_t chunks, chunk_bytes(set.batches));
  const double peer = static_cast<double>(whole) / values;
  std::cout << fmt::format("# {}: InfluxDB {:.4g} bytes per value in one shard, {:.4g} in a shard per week\n", figure.name, peer,
                           static_cast<double>(weekly) / values);
  figure.value = static_cast<double>(chunks) / values;
  figure.target = 0.25 * peer;
  figure.peer = Peer{"influxdb", figure.value / peer};
  return figure;
}

}  // namespace

Result<std::vector<Figure>> peer_sizes(Size size, const Places&) {
  std::vector<Set> sets;
  sets.push_back({"motionsense", test::motionsense_batches(size == Size::full ? SIZE_MAX : kSmokeRecordings)});
  sets.push_back({"nab", test::nab_batches()});
  sets.push_back({"occupancy", test::occupancy_batches()});
  if (size == Size::smoke) sets.erase(sets.begin() + 1, sets.end());
  std::vector<Figure> figures;
  const auto program = find_influxd();
  if (!program.ok()) {
    for (const Set& set : sets) {
      Figure& figure = figures.emplace_back(Figure{"storage.bytes_per_value_" + set.name + "_beside_influxdb", 0, "bytes", 0, Better::lower});
      figure.skipped = program.error().message;
    }
    return figures;
  }
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("peer-sizes"));
  SKERRY_ASSIGN(Influx influx, Influx::start({.folder = folder / "influx", .compact_soon = true}));
  for (const Set& set : sets) {
    SKERRY_ASSIGN(Figure figure, measure(influx, set));
    figure.judged = size == Size::full;
    figures.push_back(std::move(figure));
  }
  return figures;
}

}  // namespace skerry::bench
