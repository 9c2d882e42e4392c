#include "tests/support/sensor_data.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/real_data.h"

namespace skerry::test {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kSecond = 1'000'000'000;

std::string file_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> cells_of(std::string line) {
  std::erase_if(line, [](char c) { return c == '"' || c == '\r'; });
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

// "2014-04-01 00:05:00" as UTC; records of one second come a nanosecond apart.
int64_t time_of(const std::string& text, const std::vector<int64_t>& before) {
  std::tm when{};
  ::strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &when);
  const int64_t ns = static_cast<int64_t>(::timegm(&when)) * kSecond;
  return before.empty() ? ns : std::max(ns, before.back() + 1);
}

// The cell `time_at` is the time; the ones after it are the values, named by the last cells of the first line.
Batch csv_batch(const fs::path& path, size_t time_at) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> header = cells_of(line);
  Batch batch;
  batch.series.name = path.stem().string();
  std::vector<std::vector<double>> values;
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() <= time_at + 1) continue;
    values.resize(cells.size() - time_at - 1);
    batch.times.push_back(time_of(cells[time_at], batch.times));
    for (size_t c = 0; c < values.size(); ++c) values[c].push_back(std::strtod(cells[time_at + 1 + c].c_str(), nullptr));
  }
  for (size_t c = 0; c < values.size(); ++c) {
    batch.columns.push_back({header[header.size() - values.size() + c], std::move(values[c]), {}});
  }
  return batch;
}

}  // namespace

std::vector<Batch> motionsense_batches(size_t recordings) {
  const fs::path folder = real_data("motionsense");
  if (folder.empty()) return {};
  const auto meta = nlohmann::json::parse(file_bytes(folder / "meta.json"));
  const std::string npy = file_bytes(folder / "motionsense_A_i16.npy");
  constexpr size_t kColumns = 9;
  const size_t data_at = 10 + static_cast<uint8_t>(npy[8]) + (static_cast<size_t>(static_cast<uint8_t>(npy[9])) << 8);

  const size_t rows = (npy.size() - data_at) / sizeof(int16_t) / kColumns;  // in Fortran order: a column after the other

  std::ifstream index(folder / "index.csv");
  std::string line;
  std::getline(index, line);
  const std::vector<std::string> names = cells_of(line);
  const auto cell = [&](const char* name) { return std::find(names.begin(), names.end(), name) - names.begin(); };
  std::vector<Batch> batches;
  while (batches.size() < recordings && std::getline(index, line)) {
    const std::vector<std::string> cells = cells_of(line);
    const size_t offset = std::stoul(cells.at(cell("offset"))), length = std::stoul(cells.at(cell("length")));
    Batch batch;
    batch.series.name = "motion";
    for (size_t i = 0; i < length; ++i) batch.times.push_back(1'764'000'000 * kSecond + static_cast<int64_t>(offset + i) * kSecond / 50);
    for (size_t c = 0; c < kColumns; ++c) {
      const double scale = meta.at("scale").at(c);
      std::vector<double> values(length);
      for (size_t i = 0; i < length; ++i) {
        int16_t count;
        std::memcpy(&count, npy.data() + data_at + (c * rows + offset + i) * sizeof count, sizeof count);
        values[i] = count * scale;
      }
      batch.columns.push_back({meta.at("columns").at(c), std::move(values), {}});
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

std::vector<Batch> nab_batches() {
  const fs::path folder = real_data("nab");
  std::vector<Batch> batches;
  if (folder.empty()) return batches;
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "data")) {
    if (entry.path().extension() == ".csv") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) batches.push_back(csv_batch(file, 0));
  return batches;
}

std::vector<Batch> occupancy_batches() {
  const fs::path folder = real_data("occupancy");
  std::vector<Batch> batches;
  if (folder.empty()) return batches;
  for (const char* file : {"datatraining.txt", "datatest.txt", "datatest2.txt"}) batches.push_back(csv_batch(folder / file, 1));
  return batches;
}

size_t zstd_bytes(const std::vector<Batch>& batches, int level) {
  std::map<std::string, std::string> columns;
  for (const Batch& batch : batches) {
    for (const Column& column : batch.columns) {
      const auto& values = std::get<0>(column.values);
      columns[column.name].append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    }
  }
  size_t sum = 0;
  for (const auto& [name, raw] : columns) {
    std::string packed(ZSTD_compressBound(raw.size()), '\0');
    sum += ZSTD_compress(packed.data(), packed.size(), raw.data(), raw.size(), level);
  }
  return sum;
}

size_t zstd_bytes_apart(const std::vector<Batch>& batches, int level) {
  size_t sum = 0;
  for (const Batch& batch : batches) sum += zstd_bytes({batch}, level);
  return sum;
}

}  // namespace skerry::test
