// The pure decisions: roles of windows, the trigger, the gate.
#include <catch2/catch.hpp>

#include <set>

#include "base/random.h"
#include "learning/gate.h"
#include "learning/labels.h"
#include "learning/trigger.h"

using namespace skerry;
using namespace skerry::learning;
using storage::ExampleRole;
using storage::TimeRange;

TEST_CASE("roles: no window that is trained on overlaps a held-out one") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 40; ++round) {
    Options options;
    options.holdout_stretch = Duration(static_cast<int64_t>(random.uniform(1e6, 60e9)));
    options.holdout_share = random.uniform(0.05, 0.9);
    std::string series = "imu{device=" + std::to_string(random.below(10)) + "}";
    int64_t at = static_cast<int64_t>(random.uniform(-1e18, 2e18));
    int64_t length = 1 + static_cast<int64_t>(random.uniform(0, 3.0 * static_cast<double>(options.holdout_stretch.count())));
    int64_t stride = 1 + length / static_cast<int64_t>(1 + random.below(4));
    std::vector<TimeRange> train, holdout;
    for (int i = 0; i < 300; ++i, at += stride) {
      TimeRange window{at, at + length};
      auto role = example_role(options, series, window);
      CHECK(role == example_role(options, series, window));
      if (role == ExampleRole::train) train.push_back(window);
      if (role == ExampleRole::holdout) holdout.push_back(window);
    }
    for (const TimeRange& t : train) {
      for (const TimeRange& h : holdout) {
        INFO("seed " << Catch::rngSeed() << " round " << round);
        REQUIRE((t.to_ns <= h.from_ns || h.to_ns <= t.from_ns));
      }
    }
  }
}

TEST_CASE("roles: about the share that was asked for is held out, and not the same stretches in every series") {
  Options options;
  options.holdout_stretch = std::chrono::seconds(30);
  options.holdout_share = 0.25;
  std::set<std::vector<bool>> patterns;
  for (int s = 0; s < 20; ++s) {
    std::vector<bool> held;
    for (int64_t i = 0; i < 400; ++i) {
      int64_t from = i * options.holdout_stretch.count();
      held.push_back(example_role(options, "s" + std::to_string(s), {from, from + 1000}) == ExampleRole::holdout);
    }
    auto count = std::count(held.begin(), held.end(), true);
    CHECK(count > 60);
    CHECK(count < 140);
    patterns.insert(held);
  }
  CHECK(patterns.size() > 15);
  options.holdout_share = 0;
  CHECK(example_role(options, "s", {0, 1}) == ExampleRole::train);
}

TEST_CASE("trigger: hysteresis of idle and busy") {
  Options options;  // idle below 60 % for 10 s, busy above 85 %
  TriggerState state;
  TriggerInputs in;
  in.new_examples = in.holdout_examples = 1000;
  SteadyTime now{std::chrono::seconds(100)};
  struct Row {
    int seconds;     // after the row before
    double cpu, requests;
    bool running;
    bool start, pause;
  };
  const Row rows[] = {
      {0, 0.10, 0, false, false, false},   // quiet, not yet for long enough
      {9, 0.10, 0, false, false, false},
      {1, 0.10, 0, false, true, false},    // ten seconds of quiet
      {1, 0.70, 0, true, false, false},    // between the thresholds: goes on
      {1, 0.90, 0, true, false, true},     // busy: pauses
      {1, 0.70, 0, true, false, true},     // between again: stays paused
      {1, 0.10, 0, false, false, false},   // quiet must last anew
      {5, 0.70, 0, false, false, false},   // and was interrupted
      {5, 0.10, 0, false, false, false},
      {10, 0.10, 0, false, true, false},
      {1, 0.10, 600, true, false, true},   // requests count as load
  };
  int number = 0;
  for (const Row& row : rows) {
    INFO("row " << number++);
    now += std::chrono::seconds(row.seconds);
    in.load = {row.cpu, row.requests};
    in.job_running = row.running;
    TriggerDecision decision = decide_training(options, in, state, now);
    CHECK(decision.start == row.start);
    CHECK(decision.pause == row.pause);
    CHECK_FALSE(decision.reason.empty());
  }
}

TEST_CASE("trigger: labels and held-out examples must be enough; a person may skip the first, not the second") {
  Options options;
  options.idle_for = Duration::zero();
  auto decide = [&](TriggerInputs in) {
    TriggerState state;
    return decide_training(options, in, state, SteadyTime{std::chrono::seconds(1)});
  };
  TriggerInputs in;
  in.labels_min = 60;
  in.holdout_min = 40;
  in.new_examples = 59;
  in.holdout_examples = 40;
  CHECK_FALSE(decide(in).start);
  CHECK(decide(in).reason.find("59 new examples of 60") != std::string::npos);
  in.asked_by_hand = true;
  CHECK(decide(in).start);
  in.holdout_examples = 39;
  CHECK_FALSE(decide(in).start);
  in.job_paused = true;
  CHECK(decide(in).start);
}

TEST_CASE("gate: passes and refuses by counts") {
  inference::GateSpec spec;  // 40 examples, no loss on them, at most 1 point on the reference
  struct Row {
    GateInputs in;
    bool pass;
    const char* because;
  };
  const Row rows[] = {
      {{100, 80, 90, 200, 198, 198, true}, true, "90/100"},
      {{100, 80, 80, 200, 198, 196, true}, true, "196/200"},       // exactly one point lost
      {{100, 80, 80, 0, 0, 0, true}, true, "80/100"},              // no reference: nothing to forget
      {{100, 80, 79, 200, 198, 198, true}, false, "79/100"},
      {{100, 80, 95, 200, 198, 195, true}, false, "forgets"},
      {{39, 0, 39, 0, 0, 0, true}, false, "only 39"},
      {{100, 80, 90, 200, 198, 198, false}, false, "NaN"},
      {{100, 80, 101, 200, 198, 198, true}, false, "more correct"},
  };
  for (const Row& row : rows) {
    GateDecision decision = decide_gate(spec, row.in);
    INFO(decision.reason);
    CHECK(decision.pass == row.pass);
    CHECK(decision.reason.find(row.because) != std::string::npos);
  }
  spec.gain_min = 0.05;
  CHECK_FALSE(decide_gate(spec, {100, 80, 84, 0, 0, 0, true}).pass);
  CHECK(decide_gate(spec, {100, 80, 85, 0, 0, 0, true}).pass);
}
