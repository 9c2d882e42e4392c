#include "node/fit/recorded_windows.h"

#include <algorithm>
#include <set>

#include "inference/pipeline.h"

namespace skerry::node {
namespace {

constexpr int64_t kFleetStart = 1'760'000'000'000'000'000;
constexpr uint32_t kMachinesMax = 1000;

void append(Batch& to, const Batch& from) {
  if (to.columns.empty()) {
    to = from;
    return;
  }
  to.times.insert(to.times.end(), from.times.begin(), from.times.end());
  for (size_t i = 0; i < to.columns.size(); ++i) {
    std::visit(
        [&](auto& values) {
          const auto& more = std::get<std::decay_t<decltype(values)>>(from.columns[i].values);
          values.insert(values.end(), more.begin(), more.end());
        },
        to.columns[i].values);
  }
}

Batch slice(const Batch& batch, int64_t from_ns, int64_t to_ns) {
  auto begin = std::lower_bound(batch.times.begin(), batch.times.end(), from_ns) - batch.times.begin();
  auto end = std::lower_bound(batch.times.begin(), batch.times.end(), to_ns) - batch.times.begin();
  Batch out{batch.series, {batch.times.begin() + begin, batch.times.begin() + end}, {}};
  for (const Column& column : batch.columns) {
    Column part{column.name, {}, {}};
    std::visit(
        [&](const auto& values) { part.values = std::decay_t<decltype(values)>(values.begin() + begin, values.begin() + end); },
        column.values);
    out.columns.push_back(std::move(part));
  }
  return out;
}

Status simulate(const PumpFleet& fleet, uint32_t machine, std::vector<plugins::Recording>& out) {
  plugins::PumpOptions options;
  options.machine = fmt::format("base-pump-{}", machine);
  options.seed = fleet.seed;
  options.rate_hz = fleet.rate_hz;
  options.speed = 0;
  options.state_length = fleet.state_length;
  options.start_ns = kFleetStart;
  options.labels = true;
  options.script = plugins::kPumpConditions;
  SKERRY_ASSIGN(std::unique_ptr<plugins::Source> source, plugins::make_pump_source(options));
  const int64_t until = kFleetStart + fleet.state_length.count() * static_cast<int64_t>(plugins::kPumpConditions.size());
  Batch all;
  std::vector<plugins::Truth> truths;
  while (all.times.empty() || all.times.back() < until) {
    SKERRY_ASSIGN(plugins::Poll poll, source->poll(WallTime(Duration(until))));
    for (const Batch& batch : poll.batches) append(all, batch);
    truths.insert(truths.end(), poll.truths.begin(), poll.truths.end());
    if (poll.finished || (poll.batches.empty() && poll.next > Duration::zero())) break;
  }
  for (const plugins::Truth& truth : truths) {
    if (truth.from_ns >= until) continue;
    plugins::Recording recording;
    recording.index = {{"machine", std::to_string(machine)}};
    recording.label = truth.label;
    recording.records = slice(all, truth.from_ns, std::min(truth.to_ns, until));
    out.push_back(std::move(recording));
  }
  return {};
}

}  // namespace

Result<std::vector<plugins::Recording>> read_labelled(const plugins::ReplayOptions& options) {
  SKERRY_ASSIGN(std::vector<plugins::Recording> recordings, plugins::read_recordings(options));
  std::erase_if(recordings, [](const plugins::Recording& r) { return r.records.rows() == 0 || r.label.empty(); });
  if (recordings.empty()) return fail(Code::not_found, "{} has no labelled recordings that are selected", options.path.string());
  return recordings;
}

Result<std::vector<plugins::Recording>> simulate_fleet(const PumpFleet& fleet) {
  if (fleet.machines == 0 || fleet.machines > kMachinesMax) return fail(Code::invalid, "a fleet has 1 to {} machines", kMachinesMax);
  std::vector<plugins::Recording> out;
  for (uint32_t machine = 1; machine <= fleet.machines; ++machine) SKERRY_TRY(simulate(fleet, machine, out));
  if (out.empty()) return fail(Code::internal, "the simulated pumps gave no labelled stretch");
  return out;
}

Result<inference::WindowSpec> window_spec_of(const std::vector<plugins::Recording>& recordings, uint32_t rows, uint32_t stride) {
  if (recordings.empty()) return fail(Code::not_found, "no recordings");
  const Batch& first = recordings.front().records;
  inference::WindowSpec spec;
  spec.stream = first.series.name;
  for (const Column& column : first.columns) spec.fields.push_back(column.name);
  spec.rows = rows;
  spec.stride = stride;
  std::vector<int64_t> steps;
  for (size_t i = 1; i < first.times.size(); ++i) steps.push_back(first.times[i] - first.times[i - 1]);
  if (steps.empty()) return fail(Code::invalid, "the first recording has a single record: its period is not known");
  std::nth_element(steps.begin(), steps.begin() + static_cast<int64_t>(steps.size() / 2), steps.end());
  spec.period = Duration(steps[steps.size() / 2]);
  spec.mean.assign(spec.fields.size(), 0);  // measured by the worker
  spec.deviation.assign(spec.fields.size(), 1);
  for (const plugins::Recording& recording : recordings) {
    if (recording.records.series.name != spec.stream || recording.records.columns.size() != spec.fields.size()) {
      return fail(Code::invalid, "recordings of {} and {} do not have the same fields", spec.stream, recording.records.series.text());
    }
  }
  return spec;
}

std::vector<std::string> labels_of(const std::vector<plugins::Recording>& recordings) {
  std::set<std::string> names;
  for (const plugins::Recording& recording : recordings) names.insert(recording.label);
  return {names.begin(), names.end()};
}

Result<learning::ExampleSet> windows_of(const std::vector<plugins::Recording>& recordings, const inference::WindowSpec& spec,
                                        const std::vector<std::string>& labels, const Chooses& chosen) {
  learning::ExampleSet set{static_cast<uint32_t>(spec.fields.size()), spec.rows, {}};
  for (const plugins::Recording& recording : recordings) {
    if (!chosen(recording.index)) continue;
    auto label = std::find(labels.begin(), labels.end(), recording.label);
    if (label == labels.end()) return fail(Code::invalid, "label '{}' is not among the classes", recording.label);
    SKERRY_ASSIGN(inference::CutResult cut, inference::cut_windows(spec, recording.records));
    for (inference::Window& window : cut.windows) {
      set.windows.push_back({std::move(window.data), static_cast<int32_t>(label - labels.begin())});
    }
  }
  return set;
}

}  // namespace skerry::node
