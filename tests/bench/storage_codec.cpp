#include "tests/bench/storage_codec.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "storage/chunk.h"
#include "storage/sample_block.h"
#include "tests/support/sensor_data.h"

namespace skerry::bench {
namespace {

constexpr size_t kChunkRows = 16384, kBlockRows = 1000;
constexpr int kZstdLevel = 19;
constexpr size_t kSmokeRecordings = 4;

// As a store would seal them, or as they would come: at most `rows` records each.
std::vector<Batch> cut(const std::vector<Batch>& batches, size_t rows = kChunkRows) {
  std::vector<Batch> pieces;
  for (const Batch& batch : batches) {
    for (size_t from = 0; from < batch.rows(); from += rows) {
      const auto at = static_cast<std::ptrdiff_t>(from), end = static_cast<std::ptrdiff_t>(std::min(batch.rows(), from + rows));
      Batch piece;
      piece.times.assign(batch.times.begin() + at, batch.times.begin() + end);
      for (const Column& column : batch.columns) {
        const auto& values = std::get<0>(column.values);
        piece.columns.push_back({column.name, std::vector<double>(values.begin() + at, values.begin() + end), {}});
      }
      pieces.push_back(std::move(piece));
    }
  }
  return pieces;
}

size_t values_of(const std::vector<Batch>& batches) {
  size_t values = 0;
  for (const Batch& batch : batches) values += batch.rows() * batch.columns.size();
  return values;
}

Result<std::vector<std::string>> encode_all(const std::vector<Batch>& batches) {
  std::vector<std::string> chunks;
  for (const Batch& batch : batches) {
    SKERRY_ASSIGN(std::string chunk, storage::encode_chunk(batch));
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

Result<Figure> bytes_per_value(const std::string& set, const std::vector<Batch>& batches, size_t zstd_bytes) {
  Figure figure{"storage.bytes_per_value_" + set, 0, "bytes", 0, Better::lower};
  if (batches.empty()) {
    figure.skipped = set + " is not there (set SKERRY_TEST_DATA)";
    return figure;
  }
  SKERRY_ASSIGN(std::vector<std::string> chunks, encode_all(cut(batches)));
  const double values = static_cast<double>(values_of(batches));
  size_t bytes = 0;
  for (const std::string& chunk : chunks) bytes += chunk.size();
  figure.value = static_cast<double>(bytes) / values;
  figure.target = static_cast<double>(zstd_bytes) / values;
  figure.peer = Peer{"zstd_19", figure.value / figure.target};
  return figure;
}

// Millions of values per second, the median of the rounds.
Result<double> rate(size_t values, int rounds, const std::function<Status()>& run) {
  std::vector<double> rates;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    SKERRY_TRY(run());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(values) / took.count() / 1e6);
  }
  std::nth_element(rates.begin(), rates.begin() + rounds / 2, rates.end());
  return rates[static_cast<size_t>(rounds / 2)];
}

}  // namespace

Result<std::vector<Figure>> chunk_sizes(Size size, const Places&) {
  std::vector<Figure> figures;
  // The peer gets whole columns where all recordings belong to one, which is the most that it can make use of.
  const std::vector<Batch> motion = test::motionsense_batches(size == Size::full ? SIZE_MAX : kSmokeRecordings);
  const std::vector<Batch> nab = test::nab_batches(), occupancy = test::occupancy_batches();
  SKERRY_ASSIGN(Figure first, bytes_per_value("motionsense", motion, test::zstd_bytes(motion, kZstdLevel)));
  SKERRY_ASSIGN(Figure second, bytes_per_value("nab", nab, test::zstd_bytes_apart(nab, kZstdLevel)));
  SKERRY_ASSIGN(Figure third, bytes_per_value("occupancy", occupancy, test::zstd_bytes(occupancy, kZstdLevel)));
  for (Figure* figure : {&first, &second, &third}) {
    figure->judged = size == Size::full;
    figures.push_back(std::move(*figure));
  }
  return figures;
}

Result<uint64_t> chunk_bytes(const std::vector<Batch>& batches) {
  SKERRY_ASSIGN(const std::vector<std::string> chunks, encode_all(cut(batches)));
  uint64_t bytes = 0;
  for (const std::string& chunk : chunks) bytes += chunk.size();
  return bytes;
}

Result<std::vector<Figure>> chunk_speed(Size size, const Places&) {
  std::vector<Figure> figures = {{"storage.encode", 0, "Mvalues/s", 50, Better::higher},
                                 {"storage.decode", 0, "Mvalues/s", 200, Better::higher},
                                 {"storage.encode_blocks", 0, "Mvalues/s", 20, Better::higher}};
  const std::vector<Batch> recordings = test::motionsense_batches(size == Size::full ? SIZE_MAX : kSmokeRecordings);
  const std::vector<Batch> batches = cut(recordings), blocks = cut(recordings, kBlockRows);
  if (batches.empty()) {
    for (Figure& figure : figures) figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return figures;
  }
  SKERRY_ASSIGN(const std::vector<std::string> chunks, encode_all(batches));
  const int rounds = size == Size::full ? 7 : 1;
  auto encode = [&]() -> Status {
    for (const Batch& batch : batches) SKERRY_TRY(storage::encode_chunk(batch));
    return {};
  };
  auto decode = [&]() -> Status {
    for (const std::string& chunk : chunks) SKERRY_TRY(storage::decode_chunk(chunk));
    return {};
  };
  auto encode_blocks = [&]() -> Status {
    for (const Batch& block : blocks) {
      if (storage::encode_block(block).empty()) return fail(Code::internal, "a block of no bytes");
    }
    return {};
  };
  SKERRY_ASSIGN(figures[0].value, rate(values_of(batches), rounds, encode));
  SKERRY_ASSIGN(figures[1].value, rate(values_of(batches), rounds, decode));
  SKERRY_ASSIGN(figures[2].value, rate(values_of(blocks), rounds, encode_blocks));
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
