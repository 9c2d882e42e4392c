#include "tests/bench/learning_people.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <numbers>

#include "base/file.h"
#include "node/fit/fit.h"
#include "tests/e2e/support/process.h"
#include "tests/e2e/support/records.h"
#include "tests/support/real_data.h"

namespace skerry::bench {
namespace {

constexpr uint64_t kWorkerBytesMax = 256 << 20;
const std::vector<std::string> kMoreLeftOut = {"8", "10", "12", "13", "14", "15", "16", "17", "18", "19", "22", "23"};
constexpr int64_t kSecond = 1'000'000'000;

bool is_long(const plugins::Recording& recording) { return std::atoi(recording.index.at("trial").c_str()) < 11; }

std::vector<double>& values_of(Column& column) { return std::get<std::vector<double>>(column.values); }

void carry_otherwise(Batch& batch, const Drift& drift) {
  const double angle = drift.turn_degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  for (size_t i = 0; i + 1 < batch.columns.size(); ++i) {
    if (!batch.columns[i].name.ends_with(".x")) continue;
    std::vector<double>&x = values_of(batch.columns[i]), &y = values_of(batch.columns[i + 1]);
    for (size_t k = 0; k < x.size(); ++k) {
      const double turned = c * x[k] - s * y[k];
      y[k] = s * x[k] + c * y[k];
      x[k] = turned;
    }
  }
  for (Column& column : batch.columns) {
    for (double& value : values_of(column)) value *= drift.gain;
  }
}

}  // namespace

void note(const std::string& line) { std::cout << "# " << line << std::endl; }

Result<People> People::open(Size size, const Places& places, BaseOf base_of) {
  const std::filesystem::path data = test::real_data("motionsense");
  if (data.empty()) return fail(Code::not_found, "MotionSense is not there (set SKERRY_TEST_DATA)");
  People people;
  node::FitOptions fit;
  fit.model = "har";
  fit.recordings.path = data;
  fit.recordings.stream = "motion";
  if (size == Size::smoke) fit.epochs = 1;
  std::vector<std::string> left_out = kUnseenPeople;
  if (base_of == BaseOf::six) left_out.insert(left_out.end(), kMoreLeftOut.begin(), kMoreLeftOut.end());
  for (const std::string& person : left_out) fit.exclude["subject"] += (fit.exclude["subject"].empty() ? "" : ",") + person;
  // The name says everything that the package depends on, the worker included, so a cached one is never a wrong one.
  SKERRY_ASSIGN(const std::string worker, sha256_file(e2e::program_folder() / "skerry-worker", kWorkerBytesMax));
  fit.models = places.cache / fmt::format("motionsense-{}-{}-{}", base_of == BaseOf::six ? 6 : 18, fit.epochs, worker.substr(0, 16));
  const std::filesystem::path made = fit.models / "har" / "1";
  if (!std::filesystem::exists(made)) {
    note(fmt::format("fitting the base model of {} people", base_of == BaseOf::six ? 6 : 18));
    SKERRY_TRY(node::fit(fit));
  }
  SKERRY_ASSIGN(people.base_, inference::Package::open(made, learning::kPackageBytesMax));
  SKERRY_ASSIGN(people.recordings_, node::read_labelled(fit.recordings));
  return people;
}

std::vector<e2e::Piece> People::long_trials(const std::string& person, int64_t at_ns, size_t part, size_t parts, Drift drift) const {
  return trials(person, true, at_ns, part, parts, drift);
}

std::vector<e2e::Piece> People::short_trials(const std::string& person, int64_t at_ns) const { return trials(person, false, at_ns, 0, 1, {}); }

std::vector<e2e::Piece> People::trials(const std::string& person, bool long_ones, int64_t at_ns, size_t part, size_t parts, const Drift& drift) const {
  std::vector<e2e::Piece> out;
  for (const plugins::Recording& recording : recordings_) {
    if (recording.index.at("subject") != person || is_long(recording) != long_ones) continue;
    const size_t rows = recording.records.rows();
    e2e::Piece piece{e2e::slice(recording.records, rows * part / parts, rows * (part + 1) / parts), recording.label};
    if (piece.records.rows() == 0) continue;
    piece.records.series = Series{recording.records.series.name, {{"person", person}}};
    carry_otherwise(piece.records, drift);
    const int64_t shift = at_ns - piece.records.times.front();
    for (int64_t& time : piece.records.times) time += shift;
    at_ns = piece.to_ns() + 5 * kSecond;
    out.push_back(std::move(piece));
  }
  return out;
}

Result<learning::ExampleSet> People::short_windows(const std::string& person, Drift drift) const {
  std::vector<plugins::Recording> own;
  for (const plugins::Recording& recording : recordings_) {
    if (recording.index.at("subject") != person || is_long(recording)) continue;
    own.push_back(recording);
    carry_otherwise(own.back().records, drift);
  }
  return node::windows_of(own, base_.info.window, base_.info.labels, [](const auto&) { return true; });
}

Result<learning::ExampleSet> People::all_windows(const std::string& person) const {
  return node::windows_of(recordings_, base_.info.window, base_.info.labels, [&](const auto& index) { return index.at("subject") == person; });
}

}  // namespace skerry::bench
