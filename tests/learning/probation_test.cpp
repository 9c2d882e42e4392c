// Candidates whose gain chance may have made: labels to come decide.
#include <numbers>

#include "base/random.h"
#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using namespace std::chrono_literals;
using skerry::learning::test::Island;
using skerry::learning::test::write_result;
using storage::ModelState;

namespace {

// A candidate that answers `gained` held-out windows more rightly than its parent: too few to be sure.
WorkerExit unproven(const std::filesystem::path& job, const std::string& model, uint32_t gained) {
  const auto windows = static_cast<double>(read_examples(job / kHoldoutFile)->windows.size());
  return write_result(job, model, 0.5, 0.5 + (gained + 0.25) / windows);
}

// What serves answers "low" and `candidate` is on probation with two windows gained; no other job ends.
struct Waiting : Island {
  explicit Waiting(const std::string& candidate, const std::string& serves = "linear -1") {
    rollout.shadow_windows = 0;
    script.work = [candidate](const std::filesystem::path& job) { return unproven(job, candidate, 2); };
    package(1, serves);
  }
  void teach() {
    start();
    feed(8);
    label_all();
    run(10);
    REQUIRE(learner->status().trials.size() == 1);
    REQUIRE(learner->status().trials[0].stage == "probation");
    script.hangs = true;
  }
  // Windows of the last `time` of what was fed, all of them "high" unless told otherwise.
  void say(int64_t from_ns, Duration time, const std::string& name = "high") { REQUIRE(label(from_ns, from_ns + time.count(), name).ok()); }
  std::string last(const std::string& step, uint32_t version) const {
    for (const Decision& d : models->decisions().newest("toy", 100)) {
      if (d.step == step && d.version == version) return d.outcome + ": " + d.reason;
    }
    return {};
  }
};

Paired counts(uint32_t examples, uint32_t gained, uint32_t lost) {
  return {examples, examples / 2, examples / 2 + gained - lost, gained, lost, gained, lost};
}

}  // namespace

TEST_CASE("probation: evidence is what a mixture of bets on the candidate would have won, and rarely much by chance") {
  CHECK(evidence(0, 0) == Approx(1));
  CHECK(evidence(1, 0) == Approx(1 + 2 / std::numbers::pi));  // 4/pi times the integral of 2 sin^2 from pi/4 to pi/2
  CHECK(evidence(0, 1) == Approx(1 - 2 / std::numbers::pi));
  // The prior over both sides of one half gives n equal coins the probability C(2n, n) / 4^n (Krichevsky and Trofimov).
  CHECK(evidence(6, 0) + evidence(0, 6) == Approx(128 * 924 / 4096.0));
  CHECK(evidence(5, 0) + evidence(0, 5) == Approx(64 * 252 / 1024.0));
  CHECK(evidence(6, 0) > 20);
  CHECK(evidence(5, 0) < 20);
  CHECK(evidence(3, 3) < 1);
  CHECK(evidence(200, 0) > 1e50);
  CHECK(evidence(2000, 0) > 1e100);
  CHECK(evidence(0, 2000) < 1e-3);
  CHECK(evidence(5000, 5000) < 1);

  // Ville: looked at after every coin of a fair series, it reaches 20 in one of 20 series at most.
  Random random(11);
  int reached = 0;
  for (int series = 0; series < 1000; ++series) {
    uint32_t gained = 0, lost = 0;
    bool over = false;
    for (int coin = 0; coin < 200 && !over; ++coin) {
      ++(random.below(2) == 0 ? gained : lost);
      over = evidence(gained, lost) >= 20;
    }
    reached += over;
  }
  CHECK(reached <= 50);
  CHECK(reached > 0);
}

TEST_CASE("probation: passes with proof, refuses what is worse, late, or judged by labels that contradict everything") {
  const inference::RolloutSpec spec;  // 1000 labels, 28 days
  inference::GateSpec gate;
  using O = StageOutcome;
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 4, 0), 0}, 0s).outcome == O::pass);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 2, 0), 0}, 0s).outcome == O::wait);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 4, 1), 0}, 0s).outcome == O::wait);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 0, 20), 0}, 0s).reason.find("worse") != std::string::npos);
  CHECK(decide_probation(spec, gate, {3, 0, counts(1000, 2, 0), 0}, 0s).reason.find("not proven") != std::string::npos);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 2, 0), 0}, 24h * 28).outcome == O::refuse);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 9, 0), 40}, 0s).reason.find("look at the labels") != std::string::npos);
  CHECK(decide_probation(spec, gate, {3, 0, counts(39, 9, 0), 20}, 0s).outcome == O::pass);
  gate.gain_min = 0.1;
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 9, 0), 0}, 0s).outcome == O::wait);
  CHECK(decide_probation(spec, gate, {3, 0, counts(100, 30, 0), 0}, 0s).outcome == O::pass);
}

TEST_CASE("gate: better but not surely is unproven, unless anything else is against it") {
  const inference::GateSpec spec;
  auto unproven = [&](const GateInputs& in) {
    const GateDecision decision = decide_gate(spec, in);
    CHECK_FALSE((decision.pass && decision.unproven));
    return decision.unproven;
  };
  CHECK(unproven({counts(100, 3, 0), {}, true, {}}));
  CHECK(unproven({counts(100, 3, 2), counts(250, 0, 0), true, {}}));
  CHECK_FALSE(unproven({counts(100, 10, 0), {}, true, {}}));                      // it passes
  CHECK_FALSE(unproven({counts(100, 0, 0), {}, true, {}}));
  CHECK_FALSE(unproven({counts(100, 3, 3), {}, true, {}}));
  CHECK_FALSE(unproven({counts(100, 3, 0), counts(250, 0, 5), true, {}}));        // it forgets
  CHECK_FALSE(unproven({counts(100, 3, 0), {}, true, {400, 101, 60}}));           // the labels contradict each other
  CHECK_FALSE(unproven({counts(100, 3, 0), {}, false, {}}));
  CHECK_FALSE(unproven({counts(39, 3, 0), {}, true, {}}));
}

TEST_CASE("probation: answers nobody, outlives a restart, and serves with its delta once labels have proven it") {
  Waiting island("linear 2");
  island.teach();
  CHECK(island.version(2).state == ModelState::shadow);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.deltas().empty());
  CHECK(island.last("gate", 2).starts_with("unproven"));
  CHECK(island.learner->status().jobs_ended == 1);

  const int64_t from = island.end_ns;
  island.feed(4);
  island.say(from, 120ms);  // five windows, of which three are apart
  island.run(1);
  REQUIRE(island.engine->serving("toy") == 1u);
  CHECK(island.learner->status().why.find("toy/2 is probation: probation: on 5 new labels") != std::string::npos);
  const std::string before = island.learner->status().trials[0].why;
  island.start();
  island.run(1);
  CHECK(island.learner->status().trials[0].why == before);  // none is counted twice

  island.say(from + 1'000'000'000, 400ms);
  island.run(2);
  CHECK(island.engine->serving("toy") == 2u);
  CHECK(island.version(2).state == ModelState::serving);
  CHECK(island.deltas().size() == 1);
  CHECK(island.last("probation", 2).starts_with("passed"));
  CHECK(island.version(2).reason.find("evidence") != std::string::npos);
}

TEST_CASE("probation: one that is worse, that nothing tells apart, or whose labels nobody believes is refused") {
  SECTION("worse") {
    Waiting island("linear -1", "linear 1");
    island.teach();
    const int64_t from = island.end_ns;
    island.feed(4);
    island.say(from, 2s);
    island.run(2);
    CHECK(island.version(2).state == ModelState::rejected);
    CHECK(island.last("reject", 2).find("it is worse") != std::string::npos);
    CHECK(island.deltas().empty());
  }
  SECTION("nothing tells them apart") {
    Waiting island("linear 2", "linear 1");
    island.rollout.probation_labels = 40;
    island.package(1, "linear 1");
    island.teach();
    const int64_t from = island.end_ns;
    island.feed(4);
    island.say(from, 500ms);
    island.run(1);
    CHECK(island.version(2).state == ModelState::shadow);
    island.say(from + 1'000'000'000, 1s);
    island.run(2);
    CHECK(island.last("reject", 2).find("not proven") != std::string::npos);
  }
  SECTION("no labels come") {
    Waiting island("linear 2");
    island.teach();
    island.clock.advance(24h * 29);
    island.run(2);
    CHECK(island.last("reject", 2).find("not proven") != std::string::npos);
  }
  SECTION("neither says what the labels say") {
    Waiting island("linear 2");
    island.teach();
    const int64_t from = island.end_ns;
    island.feed(4);
    island.say(from, 2s, "middle");
    island.run(2);
    CHECK(island.last("reject", 2).find("look at the labels") != std::string::npos);
  }
  SECTION("the package wants no probation") {
    Waiting island("linear 2");
    island.rollout.probation_labels = 0;
    island.package(1, "linear -1");
    island.start();
    island.feed(8);
    island.label_all();
    island.run(10);
    CHECK(island.version(2).state == ModelState::rejected);
    CHECK(island.last("gate", 2).starts_with("refused"));
  }
}

TEST_CASE("probation: of two the one with more evidence stays, and one that passes the gate takes its place") {
  Waiting island("linear 2", "linear 1");  // labels tell nothing apart
  island.teach();
  island.script.hangs = false;
  uint64_t jobs = 1;
  auto another = [&](const std::function<WorkerExit(const std::filesystem::path&)>& work) {
    island.script.work = work;
    const int64_t from = island.end_ns;
    island.feed(5);
    island.say(from, 5s);
    island.run(10);
    INFO(island.learner->status().why);
    CHECK(island.learner->status().jobs_ended == ++jobs);
  };
  another([](const auto& job) { return unproven(job, "linear 2", 1); });
  CHECK(island.version(3).state == ModelState::rejected);
  CHECK(island.version(3).reason.find("more evidence") != std::string::npos);
  CHECK(island.version(2).state == ModelState::shadow);
  another([](const auto& job) { return unproven(job, "linear 2", 3); });
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("toy/4 takes its place") != std::string::npos);
  REQUIRE(island.version(4).state == ModelState::shadow);
  another([](const auto& job) { return write_result(job, "linear 2", 0.7, 0.9); });
  CHECK(island.version(4).state == ModelState::rejected);
  CHECK(island.engine->serving("toy") == 5u);
  auto deltas = island.deltas();
  REQUIRE(deltas.size() == 1);
  CHECK(decode_delta(deltas[0].payload)->base_version == 1);
}

TEST_CASE("probation: labels that the candidate was made with prove nothing when they are given again") {
  Waiting island("linear 2");
  island.teach();
  for (const std::string name : {"middle", "high"}) island.say(island.begin_ns, 8s, name);  // taken for new examples, each time
  island.run(2);
  CHECK(island.version(2).state == ModelState::shadow);
  CHECK(island.learner->status().trials[0].why.find("on 0 new labels") != std::string::npos);
}
