#include "node/simulate/trace.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/file.h"

namespace skerry::simulate {
namespace {

constexpr size_t kStepsMax = 4'000'000, kFileBytesMax = 64 << 20;

std::vector<std::string_view> cells(std::string_view line) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t comma = line.find(',');
    std::string_view cell = line.substr(0, comma);
    while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.remove_prefix(1);
    while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\r' || cell.back() == '\t')) cell.remove_suffix(1);
    out.push_back(cell);
    if (comma == std::string_view::npos) return out;
    line.remove_prefix(comma + 1);
  }
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0 || value > 1e9) return {};
  return value;
}

std::optional<sync::Technology> technology(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(sync::Technology::satellite); ++i) {
    if (name == to_string(static_cast<sync::Technology>(i))) return static_cast<sync::Technology>(i);
  }
  return {};
}

Result<TraceStep> parse_step(const std::vector<std::string_view>& row) {
  if (row.size() < 4 || row.size() > 5) return fail(Code::invalid, "write seconds,technology,kbit_per_second,rtt_ms[,roaming]");
  const auto seconds = number(row[0]), rate = number(row[2]), rtt = number(row[3]);
  if (!seconds || !rate || !rtt) return fail(Code::invalid, "seconds, rate and round trip are numbers from 0 to 1e9");
  TraceStep step{.at = Duration(static_cast<int64_t>(*seconds * 1e9))};
  if (row[1] != "none") {
    const auto known = technology(row[1]);
    if (!known) return fail(Code::invalid, "'{}' is no technology: none, ethernet, wifi, 2g-3g, lte-m, lte, 5g-nsa, 5g-sa and satellite are", row[1].substr(0, 32));
    step.link.technology = *known;
  }
  step.up = row[1] != "none" && *rate > 0;
  step.link.rate = std::max<uint64_t>(1, static_cast<uint64_t>(*rate * 125));
  step.link.rtt = Duration(static_cast<int64_t>(*rtt * 1e6));
  step.link.roaming = row.size() == 5 && row[4] == "1";
  return step;
}

double exponential(Random& random, double mean) { return -mean * std::log(1.0 - random.uniform()); }

}  // namespace

Result<std::vector<TraceStep>> parse_trace(std::string_view csv, const std::string& name) {
  std::vector<TraceStep> steps;
  for (size_t line = 1; !csv.empty(); ++line) {
    const size_t end = csv.find('\n');
    const std::string_view text = csv.substr(0, end);
    csv.remove_prefix(end == std::string_view::npos ? csv.size() : end + 1);
    const bool heading = line == 1 && text.find_first_of("0123456789") == std::string_view::npos;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos || text.front() == '#' || heading) continue;
    auto step = parse_step(cells(text));
    if (!step.ok()) return fail(Code::invalid, "{}:{}: {}", name, line, step.error().message);
    if (!steps.empty() && step->at <= steps.back().at) return fail(Code::invalid, "{}:{}: the time does not grow", name, line);
    if (steps.size() == kStepsMax) return fail(Code::invalid, "{}: more than {} lines", name, kStepsMax);
    steps.push_back(*step);
  }
  if (steps.empty()) return fail(Code::invalid, "{}: no line of a trace: write seconds,technology,kbit_per_second,rtt_ms", name);
  return steps;
}

Result<std::vector<TraceStep>> read_trace(const std::filesystem::path& file) {
  SKERRY_ASSIGN(const std::string csv, read_file(file, kFileBytesMax));
  return parse_trace(csv, file.string());
}

std::vector<TraceStep> driving_trace(Random& random, Duration length) {
  struct State {
    sync::Technology technology;
    double share, dwell_seconds, median_kbit, rtt_ms;
  };
  constexpr State kStates[] = {{sync::Technology::unknown, 0.15, 80, 0, 0},
                               {sync::Technology::lte, 0.40, 95, 5000, 60},
                               {sync::Technology::nr_nsa, 0.20, 95, 16'000, 45},
                               {sync::Technology::nr_sa, 0.25, 105, 15'000, 35}};
  std::vector<TraceStep> steps;
  for (Duration at{0}; at < length;) {
    double draw = random.uniform();
    const State* state = &kStates[0];
    for (const State& s : kStates) {
      state = &s;
      if ((draw -= s.share) < 0) break;
    }
    TraceStep step{.at = at, .up = state->technology != sync::Technology::unknown};
    step.link.technology = state->technology;
    step.link.rate = std::max<uint64_t>(1000, static_cast<uint64_t>(125 * state->median_kbit * std::exp(random.normal())));
    step.link.rtt = Duration(static_cast<int64_t>(1e6 * state->rtt_ms * random.uniform(0.8, 2.5)));
    steps.push_back(step);
    at += std::chrono::milliseconds(1000 + static_cast<int64_t>(1000 * exponential(random, state->dwell_seconds)));
  }
  return steps;
}

}  // namespace skerry::simulate
