#include <catch2/catch.hpp>

#include <array>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "plugins/internal/pump_model.h"
#include "plugins/source.h"
#include "tests/support/sim_clock.h"

using namespace skerry;
using namespace skerry::plugins;
using namespace std::chrono_literals;
using test::SimClock;

namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;
constexpr double kRate = 400;

std::unique_ptr<Source> pump(PumpOptions options) {
  Result<std::unique_ptr<Source>> source = make_pump_source(options);
  INFO((source.ok() ? "" : source.error().message));
  REQUIRE(source.ok());
  return std::move(source).value();
}

struct Samples {
  std::vector<int64_t> times;
  std::array<std::vector<double>, 3> axes;
  std::vector<Truth> truths;
  bool operator==(const Samples& other) const { return times == other.times && axes == other.axes; }
};

void take(Samples& out, Poll& poll) {
  for (const Batch& b : poll.batches) {
    CHECK(b.validate().ok());
    out.times.insert(out.times.end(), b.times.begin(), b.times.end());
    for (size_t axis = 0; axis < 3; ++axis) {
      const auto& values = std::get<std::vector<double>>(b.columns.at(axis).values);
      out.axes[axis].insert(out.axes[axis].end(), values.begin(), values.end());
    }
  }
  for (Truth& t : poll.truths) out.truths.push_back(std::move(t));
}

// As fast as possible.
Samples run(PumpOptions options, size_t rows) {
  options.speed = 0;
  options.start_ns = kStart;
  auto source = pump(options);
  SimClock clock;
  Samples out;
  while (out.times.size() < rows) {
    Result<Poll> poll = source->poll(clock.now());
    REQUIRE(poll.ok());
    take(out, *poll);
  }
  return out;
}

PumpOptions condition(const std::string& machine, const std::string& name) {
  PumpOptions options;
  options.machine = machine;
  options.script = {name};
  return options;
}

// Power of one frequency (Goertzel 1958), Hann window, as amplitude.
double line(const std::vector<double>& x, size_t from, size_t n, double hz) {
  const double w = 2 * std::numbers::pi * hz / kRate, c = 2 * std::cos(w);
  double a = 0, b = 0;
  for (size_t i = 0; i < n; ++i) {
    const double hann =
        0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n));
    const double next = x[from + i] * hann + c * a - b;
    b = a;
    a = next;
  }
  return std::sqrt(std::max(0.0, a * a + b * b - c * a * b)) * 4 / static_cast<double>(n);
}

// Mean over windows of the strongest line near harmonic `k` of the shaft, summed over the axes in power.
double harmonic(const Samples& s, const PumpMachine& machine, double k) {
  double sum = 0;
  size_t windows = 0;
  for (size_t from = 0; from + 1024 <= s.times.size(); from += 1024, ++windows) {
    double power = 0;
    for (const auto& axis : s.axes) {
      double best = 0;
      for (double hz = machine.speed_hz * 0.98; hz < machine.speed_hz * 1.02; hz += 0.1)
        best = std::max(best, line(axis, from, 1024, hz * k));
      power += best * best;
    }
    sum += std::sqrt(power);
  }
  return sum / static_cast<double>(windows);
}

// Power of the first difference: high frequencies.
double roughness(const Samples& s) {
  double sum = 0;
  for (const auto& axis : s.axes) {
    for (size_t i = 1; i < axis.size(); ++i) sum += std::pow(axis[i] - axis[i - 1], 2);
  }
  return sum / static_cast<double>(s.times.size());
}

}  // namespace

TEST_CASE("pump: equal machine and seed give equal records, however they are fetched") {
  PumpOptions options;
  options.state_length = 3s;
  const Samples fast = run(options, 20'000);

  options.start_ns = kStart;
  options.batch = 130ms;
  auto source = pump(options);
  SimClock clock;
  Samples slow;
  for (int i = 0; slow.times.size() < 20'000; ++i) {
    Result<Poll> poll = source->poll(clock.now());
    REQUIRE(poll.ok());
    take(slow, *poll);
    clock.advance(i % 7 == 0 ? 2s : poll->next);
  }
  const size_t n = std::min(fast.times.size(), slow.times.size());
  for (size_t axis = 0; axis < 3; ++axis) {
    CHECK(std::equal(fast.axes[axis].begin(), fast.axes[axis].begin() + static_cast<long>(n),
                     slow.axes[axis].begin()));
  }
  CHECK(std::equal(fast.times.begin(), fast.times.begin() + static_cast<long>(n), slow.times.begin()));
}

TEST_CASE("pump: another seed or another machine gives other records") {
  PumpOptions options;
  const Samples one = run(options, 1000);
  options.seed = 2;
  const Samples two = run(options, 1000);
  options.seed = 1;
  options.machine = "pump-2";
  const Samples three = run(options, 1000);
  CHECK_FALSE(one == two);
  CHECK_FALSE(one == three);
  CHECK(one == run(PumpOptions{}, 1000));
}

TEST_CASE("pump: imbalance raises the line at the speed of rotation, misalignment the one at twice of it") {
  for (int i = 1; i <= 8; ++i) {
    const std::string machine = "spectrum-" + std::to_string(i);
    INFO(machine);
    const PumpMachine m = draw_machine(machine, 1);
    const Samples normal = run(condition(machine, "normal"), 24'000);
    const Samples imbalance = run(condition(machine, "imbalance"), 24'000);
    const Samples misalignment = run(condition(machine, "misalignment"), 24'000);
    CHECK(harmonic(imbalance, m, 1) > 1.25 * harmonic(normal, m, 1));
    CHECK(harmonic(imbalance, m, 2) < 1.3 * harmonic(normal, m, 2) + 0.01);
    CHECK(harmonic(misalignment, m, 2) > 1.25 * harmonic(normal, m, 2));
  }
}

TEST_CASE(
    "pump: a bearing defect and cavitation are rough, and only the first one rings at the ball pass frequency") {
  for (int i = 1; i <= 8; ++i) {
    const std::string machine = "rough-" + std::to_string(i);
    INFO(machine);
    const PumpMachine m = draw_machine(machine, 1);
    const Samples normal = run(condition(machine, "normal"), 24'000);
    const Samples bearing = run(condition(machine, "bearing"), 24'000);
    const Samples cavitation = run(condition(machine, "cavitation"), 24'000);
    CHECK(roughness(bearing) > 1.15 * roughness(normal));
    CHECK(roughness(cavitation) > 1.15 * roughness(normal));
    CHECK(harmonic(bearing, m, m.ball_pass_ratio) > 1.2 * harmonic(cavitation, m, m.ball_pass_ratio));
  }
}

TEST_CASE("pump: machines differ in speed, resonance, mounting and in how much a fault shows") {
  std::set<double> speeds, gains, faults;
  for (int i = 0; i < 20; ++i) {
    const PumpMachine m = draw_machine("pump-" + std::to_string(i), 1);
    CHECK(m.speed_hz == Approx(25).margin(1.6));
    speeds.insert(m.speed_hz);
    gains.insert(m.mounting[0][0]);
    faults.insert(m.fault_imbalance);
  }
  CHECK(speeds.size() == 20);
  CHECK(*gains.rbegin() > 1.3 * *gains.begin());
  CHECK(*faults.rbegin() > 1.3 * *faults.begin());
}

TEST_CASE("pump: truths cover the records without a hole, in the script's order") {
  PumpOptions options;
  options.state_length = 2s;
  options.labels = true;
  options.script = {"normal", "bearing", "normal", "cavitation"};
  const Samples s = run(options, 10'000);
  REQUIRE(s.truths.size() >= 8);
  for (size_t i = 0; i < s.truths.size(); ++i) {
    CHECK(s.truths[i].label == options.script[i % 4]);
    CHECK(s.truths[i].from_ns == kStart + static_cast<int64_t>(i) * 2'000'000'000);
    CHECK(s.truths[i].to_ns == s.truths[i].from_ns + 2'000'000'000);
    CHECK(s.truths[i].series == "pump{machine=pump-1}");
    CHECK(s.truths[i].to_ns <= s.times.back());
  }
}

TEST_CASE("pump: drawn conditions are balanced and never come twice in a row") {
  PumpOptions options;
  options.state_length = 1s;
  options.labels = true;
  const Samples s = run(options, 400 * 101);
  std::map<std::string, int> count;
  for (size_t i = 0; i < 100; ++i) {
    ++count[s.truths.at(i).label];
    if (i > 0) CHECK(s.truths[i].label != s.truths[i - 1].label);
  }
  for (const std::string& name : kPumpConditions) CHECK(count[name] == 20);
}

TEST_CASE("pump: in real time it keeps the accelerometer's rate, and catches up in bounded polls") {
  PumpOptions options;
  auto source = pump(options);
  SimClock clock;
  size_t rows = 0, polls = 0;
  const WallTime end = clock.now() + 60s;
  for (; clock.now() <= end; ++polls) {
    Result<Poll> poll = source->poll(clock.now());
    REQUIRE(poll.ok());
    CHECK_FALSE(poll->finished);
    for (const Batch& b : poll->batches) {
      rows += b.rows();
      CHECK(b.times.back() <= clock.now_ns());
    }
    clock.advance(poll->next);
  }
  CHECK(rows == Approx(24'000).margin(200));
  CHECK(polls < 130);
  clock.advance(48h);
  Result<Poll> poll = source->poll(clock.now());
  REQUIRE(poll.ok());
  CHECK(poll->batches.size() <= 64);
  CHECK(poll->next == Duration::zero());
}

TEST_CASE("pump: the sensor drifts slowly") {
  PumpOptions options = condition("drifter", "normal");
  options.drift_per_hour = 10;  // 1000 s are enough to see it
  Samples s = run(options, 400'000);
  auto mean = [&](size_t axis, size_t from) {
    double sum = 0;
    for (size_t i = 0; i < 20'000; ++i) sum += s.axes[axis][from + i];
    return sum / 20'000;
  };
  double moved = 0;
  for (size_t axis = 0; axis < 3; ++axis) moved += std::abs(mean(axis, 380'000) - mean(axis, 0));
  CHECK(moved > 0.2);
  options.drift_per_hour = 0;
  s = run(options, 400'000);
  moved = 0;
  for (size_t axis = 0; axis < 3; ++axis) moved += std::abs(mean(axis, 380'000) - mean(axis, 0));
  CHECK(moved < 0.02);
}

TEST_CASE("pump: options that make no sense are refused with a remedy") {
  auto refusal = [](auto change) {
    PumpOptions options;
    change(options);
    Result<std::unique_ptr<Source>> source = make_pump_source(options);
    REQUIRE_FALSE(source.ok());
    return source.error().message;
  };
  CHECK_THAT(refusal([](PumpOptions& o) {
               o.script = {"normal", "on fire"};
             }),
             Catch::Contains("'on fire' is not a condition") && Catch::Contains("cavitation"));
  CHECK_THAT(refusal([](PumpOptions& o) { o.rate_hz = 0; }), Catch::Contains("between 100 and 10000"));
  CHECK_THAT(refusal([](PumpOptions& o) { o.rate_hz = NAN; }), Catch::Contains("between 100 and 10000"));
  CHECK_THAT(refusal([](PumpOptions& o) { o.speed = -1; }), Catch::Contains("out of range"));
  CHECK_THAT(refusal([](PumpOptions& o) { o.state_length = 0s; }), Catch::Contains("state_length"));
  CHECK_THAT(refusal([](PumpOptions& o) { o.machine = ""; }), Catch::Contains("machine name"));
}
