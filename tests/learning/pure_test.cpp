// The pure decisions: roles of windows, the trigger, the gate.
#include <catch2/catch.hpp>

#include <cmath>
#include <set>

#include "base/random.h"
#include "learning/adwin.h"
#include "learning/gate.h"
#include "learning/labels.h"
#include "learning/rollout.h"
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

TEST_CASE("trigger: heat, battery and memory count as load, with their own hysteresis") {
  Options options;
  options.idle_for = Duration::zero();
  TriggerState state;
  TriggerInputs in;
  in.new_examples = in.holdout_examples = 1000;
  auto decide = [&](double celsius, bool battery, uint64_t memory, bool running) {
    in.load = {0.1, 0, celsius, battery, memory};
    in.job_running = running;
    return decide_training(options, in, state, SteadyTime{std::chrono::seconds(1)});
  };
  constexpr uint64_t kPlenty = 4ULL << 30;
  CHECK(decide(40, false, kPlenty, false).start);
  CHECK_FALSE(decide(75, false, kPlenty, true).pause);   // warm, not yet too warm
  CHECK(decide(81, false, kPlenty, true).pause);
  CHECK_FALSE(decide(75, false, kPlenty, false).start);  // cooler, not yet cool
  CHECK(decide(60, false, kPlenty, false).start);
  CHECK(decide(60, true, kPlenty, true).pause);
  CHECK(decide(60, true, kPlenty, true).reason.find("battery") != std::string::npos);
  CHECK(decide(60, false, kPlenty, false).start);
  CHECK_FALSE(decide(60, false, 200 << 20, true).pause);
  CHECK(decide(60, false, 100 << 20, true).pause);
  options.on_battery = true;
  CHECK(decide(60, true, kPlenty, false).start);
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

namespace {

Paired paired(uint32_t examples, uint32_t parent, uint32_t gained, uint32_t lost) {
  return {examples, parent, parent + gained - lost, gained, lost, gained, lost};
}

// Labels of which a share says something else than the truth, and two versions of known accuracy on the truth.
GateInputs judged_on_wrong_labels(Random& random, uint32_t examples, double flipped, double parent_right, double candidate_right) {
  GateInputs out;
  out.labels.labels = examples;
  Paired& p = out.holdout;
  for (uint32_t i = 0; i < examples; ++i) {
    auto answer = [&](double right) { return random.chance(right) ? 0 : 1 + static_cast<int>(random.below(5)); };  // class 0 is the truth
    const int parent = answer(parent_right), candidate = answer(candidate_right), others = answer(0.95);
    const int label = random.chance(flipped) ? 1 + static_cast<int>(random.below(5)) : 0;
    out.labels.contradicted += others != label;
    if (others != label && parent == others) {
      ++out.labels.doubted;
      continue;
    }
    ++p.examples;
    p.parent_correct += parent == label;
    p.candidate_correct += candidate == label;
    p.gained += parent != label && candidate == label;
    p.lost += parent == label && candidate != label;
  }
  p.gained_apart = p.gained;
  p.lost_apart = p.lost;
  return out;
}

}  // namespace

TEST_CASE("gate: p-values and bounds as in the tables") {
  CHECK(mcnemar_mid_p(0, 0) == Approx(0.5));
  CHECK(mcnemar_mid_p(4, 0) == Approx(0.03125));
  CHECK(mcnemar_mid_p(6, 1) == Approx(8.0 / 128 - 3.5 / 128));
  CHECK(mcnemar_mid_p(2000, 2000) == Approx(0.5).margin(0.01));
  CHECK(normal_quantile(0.975) == Approx(1.959963985).epsilon(1e-7));
  CHECK(normal_quantile(0.01) == Approx(-2.326347874).epsilon(1e-7));
  const double z2 = 1.644853627 * 1.644853627;
  CHECK(paired_lower_bound(150, 0, 0, 0.95) == Approx(-z2 / (150 + z2)).epsilon(1e-4));  // closed form without any difference
  CHECK(paired_lower_bound(100, 20, 5, 0.95) < 0.15);
  CHECK(paired_lower_bound(100, 20, 5, 0.95) > 0.05);
  CHECK(paired_lower_bound(100, 20, 5, 0.99) < paired_lower_bound(100, 20, 5, 0.9));
}

TEST_CASE("gate: passes and refuses by counts, with confidence") {
  inference::GateSpec spec;  // 40 examples, better at all, less than 3 points lost on the reference
  struct Row {
    GateInputs in;
    bool pass;
    const char* because;
  };
  const Row rows[] = {
      {{paired(100, 80, 10, 0), paired(250, 248, 0, 0), true}, true, "90/100"},
      {{paired(100, 80, 4, 0), paired(250, 248, 0, 2), true}, true, "246/250"},
      {{paired(100, 80, 10, 0), {}, true}, true, "no reference"},
      {{paired(100, 80, 3, 0), {}, true}, false, "p = 0.063"},              // three windows may be chance
      {{paired(100, 80, 0, 0), {}, true}, false, "80/100"},
      {{paired(100, 80, 14, 7), {}, true}, false, "87/100"},                // better, but not surely
      {{paired(100, 80, 15, 0), paired(250, 248, 0, 5), true}, false, "forgets"},
      {{paired(100, 80, 15, 0), paired(30, 30, 0, 0), true}, false, "can't show"},
      {{paired(39, 0, 39, 0), {}, true}, false, "only 39"},
      {{paired(100, 30, 30, 0), {}, true}, true, "60/100"},                 // weak, but surely better
      {{paired(100, 80, 10, 0), {}, true, {400, 100, 60}}, true, "100 of 400 labels contradicted"},
      {{paired(100, 80, 10, 0), {}, true, {400, 101, 60}}, false, "look at the labels"},
      {{paired(100, 80, 10, 0), {}, true, {400, 30, 31}}, false, "contradict"},
      {{paired(100, 80, 10, 0), {}, false}, false, "NaN"},
      {{{100, 80, 101, 21, 0, 21, 0}, {}, true}, false, "contradict"},
      {{{100, 80, 90, 9, 0, 9, 0}, {}, true}, false, "contradict"},
  };
  for (const Row& row : rows) {
    GateDecision decision = decide_gate(spec, row.in);
    INFO(decision.reason);
    CHECK(decision.pass == row.pass);
    CHECK(decision.reason.find(row.because) != std::string::npos);
  }
  spec.gain_min = 0.05;
  CHECK_FALSE(decide_gate(spec, {paired(100, 80, 8, 0), {}, true}).pass);
  CHECK(decide_gate(spec, {paired(100, 80, 16, 0), {}, true}).pass);
}

TEST_CASE("gate: wrong labels do not make a worse version pass") {
  const inference::GateSpec spec;
  Random random(7);
  for (double flipped : {0.1, 0.3, 0.6}) {
    int worse_passed = 0, better_passed = 0;
    for (int round = 0; round < 300; ++round) {
      worse_passed += decide_gate(spec, judged_on_wrong_labels(random, 200, flipped, 0.95, 0.90)).pass;
      better_passed += decide_gate(spec, judged_on_wrong_labels(random, 200, flipped, 0.80, 0.97)).pass;
    }
    INFO(flipped);
    CHECK(worse_passed == 0);
    if (flipped < 0.2) CHECK(better_passed > 250);   // a few wrong labels take evidence away, not sense
    if (flipped > 0.5) CHECK(better_passed < 5);     // where most are wrong, nothing is decided on them
  }
}

TEST_CASE("rollout: bounds of a difference, shadow, canary and rollback by counts") {
  const Bounds newcombe = difference_bounds(56, 70, 48, 80, 0.975);  // Newcombe 1998, table II (a): 0.0524 to 0.3339
  CHECK(newcombe.low == Approx(0.0524).margin(5e-4));
  CHECK(newcombe.high == Approx(0.3339).margin(5e-4));

  inference::RolloutSpec spec;
  spec.shadow_time = std::chrono::hours(1);
  spec.canary_share = 0.1;
  using O = StageOutcome;
  CHECK(decide_shadow(spec, {10, 10, 0}, std::chrono::minutes(1)).outcome == O::wait);
  CHECK(decide_shadow(spec, {10, 10, 0}, std::chrono::hours(1)).outcome == O::pass);
  CHECK(decide_shadow(spec, {64, 60, 0}, {}).outcome == O::pass);
  CHECK(decide_shadow(spec, {64, 20, 0}, {}).outcome == O::refuse);
  CHECK(decide_shadow(spec, {10, 9, 1}, {}).outcome == O::refuse);
  CHECK(decide_canary(spec, {0, 10, 9}, {0, 90, 80}, {}).outcome == O::wait);
  CHECK(decide_canary(spec, {0, 30, 27}, {0, 90, 80}, {}).outcome == O::pass);
  CHECK(decide_canary(spec, {0, 12, 2}, {0, 90, 80}, {}).outcome == O::refuse);  // need not wait for the rest
  CHECK(decide_canary(spec, {0, 0, 0}, {0, 0, 0}, spec.canary_time).outcome == O::pass);
  CHECK(decide_rollback(spec, paired(10, 10, 0, 10)).outcome == O::wait);
  CHECK(decide_rollback(spec, paired(60, 58, 1, 12)).outcome == O::refuse);
  CHECK(decide_rollback(spec, paired(60, 58, 1, 3)).outcome == O::pass);
  CHECK(decide_rollback(spec, paired(60, 20, 0, 0)).outcome == O::pass);  // both are bad: going back would not help
}

TEST_CASE("adwin: a change of the mean is noticed soon, noise is not") {
  Random random(3);
  Adwin steady(0.002);
  int alarms = 0;
  for (int i = 0; i < 20'000; ++i) alarms += steady.add(random.chance(0.1) ? 1 : 0);
  CHECK(alarms <= 2);
  CHECK(steady.state().size() < 3 * 5 * 20);

  Adwin changing(0.002);
  for (int i = 0; i < 1000; ++i) changing.add(random.chance(0.05) ? 1 : 0);
  int after = 0;
  while (after < 1000 && !changing.add(random.chance(0.45) ? 1 : 0)) ++after;
  CHECK(after < 100);
  for (int i = 0; i < 500; ++i) changing.add(random.chance(0.45) ? 1 : 0);
  CHECK(changing.mean() == Approx(0.45).margin(0.12));

  Adwin back = Adwin::from_state(0.002, changing.state());
  CHECK(back.size() == changing.size());
  CHECK(back.mean() == changing.mean());
  CHECK(Adwin::from_state(0.002, {1, 2}).size() == 0);
  CHECK(Adwin::from_state(0.002, {NAN, 0, 0}).size() == 0);
}
