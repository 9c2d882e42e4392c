#include <algorithm>
#include <cmath>

#include "storage/record_format.h"
#include "learning/next_labels.h"
#include "learning/provenance.h"
#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::learning::test::Island;

TEST_CASE("labels: a range label scores every window in it and makes examples that never straddle a held-out stretch") {
  Island island;
  island.package(1);
  island.start();
  island.feed(8);
  LabelOutcome outcome = island.label_all("high");
  CHECK(outcome.predictions > 390);
  CHECK(outcome.correct == outcome.predictions);  // the toy answers the last class for positive windows
  CHECK(outcome.examples > 300);
  CHECK(outcome.examples < outcome.predictions);  // those that straddle
  auto examples = island.store->examples("toy", 10'000);
  REQUIRE(examples.ok());
  CHECK(examples->size() == outcome.examples);
  CHECK(island.store->live_score("toy", 1).labelled == outcome.predictions);
  CHECK(examples->front().data.size() == 8);
}

TEST_CASE("labels: repeating a label changes nothing, another one replaces it") {
  Island island;
  island.package(1);
  island.start();
  island.feed(2);
  LabelOutcome first = island.label_all("high");
  auto score = island.store->live_score("toy", 1);
  auto queued = island.store->outbox_status();
  LabelOutcome again = island.label_all("2");  // the same class by its index
  CHECK(again.predictions == first.predictions);
  CHECK(again.examples == 0);
  CHECK(island.store->live_score("toy", 1) == score);
  CHECK(island.store->outbox_status()[1].last_seq == queued[1].last_seq);

  LabelOutcome other = island.label_all("low");
  CHECK(other.correct == 0);
  CHECK(island.store->live_score("toy", 1).labelled == score.labelled);
  CHECK(island.store->live_score("toy", 1).correct == 0);
  auto examples = island.store->examples("toy", 10'000);
  REQUIRE(examples.ok());
  CHECK(examples->size() == first.examples);
  for (const auto& example : *examples) CHECK(example.label == 0);
}

TEST_CASE("labels: mistakes name the remedy") {
  Island island;
  island.package(1);
  island.start();
  island.feed(1);
  auto unknown = island.label(island.begin_ns, island.end_ns, "sideways");
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().code == Code::invalid);
  CHECK(unknown.error().message.find("low, middle, high") != std::string::npos);
  CHECK(island.label(island.begin_ns, island.end_ns, "3").error().code == Code::invalid);
  CHECK(island.label(island.begin_ns, island.end_ns, "-1").error().code == Code::invalid);
  CHECK(island.label(0, 1000, "low").error().code == Code::not_found);
  CHECK(island.label(5, 5, "low").error().code == Code::invalid);
  LabelRequest by_id;
  by_id.prediction = 123456;
  by_id.label = "low";
  CHECK(island.labels->apply(by_id).error().code == Code::not_found);
  CHECK(island.labels->apply({}).error().code == Code::invalid);
}

TEST_CASE("labels: a withdrawn label leaves the score as it was, takes its example along and tells the hub") {
  Island island;
  island.package(1);
  island.start();
  island.feed(8);
  const auto before = island.store->live_score("toy", 1);
  const LabelOutcome said = island.label_all("low");
  const auto queued = island.store->outbox_status()[1].last_seq;

  LabelRequest request;
  request.series = island.series.text();
  request.range = {island.begin_ns, island.end_ns};
  auto taken_back = island.labels->withdraw(request);
  REQUIRE(taken_back.ok());
  CHECK(taken_back->predictions == said.predictions);
  CHECK(taken_back->versions.empty());  // none was made yet
  CHECK(island.store->live_score("toy", 1) == before);
  CHECK(island.store->examples("toy", 10'000)->empty());
  CHECK(island.store->example_counts("toy", storage::ExampleId::none)->all() == 0);
  CHECK(island.store->outbox_status()[1].last_seq == queued + said.predictions);
  CHECK(island.store->labels("toy", 1)->front().value == storage::kWithdrawn);

  // Once more changes nothing, also after a restart; and what is said anew counts anew.
  island.start();
  CHECK(island.labels->withdraw(request)->predictions == 0);
  CHECK(island.store->live_score("toy", 1) == before);
  CHECK(island.label_all("high").examples == said.examples);
  CHECK(island.store->live_score("toy", 1).labelled == said.predictions);

  request.range = {0, 1};
  CHECK(island.labels->withdraw(request).error().code == Code::not_found);
}

TEST_CASE("labels: withdrawing names the versions that were made with the label, and no other") {
  Island island;
  island.package(1);
  island.start();
  island.feed(16);
  const int64_t half = island.begin_ns + (island.end_ns - island.begin_ns) / 2;
  REQUIRE(island.label(island.begin_ns, half, "high").ok());
  island.run(400);
  REQUIRE(island.version(2).state == storage::ModelState::serving);
  REQUIRE(island.label(half, island.end_ns, "high").ok());

  LabelRequest request;
  request.series = island.series.text();
  request.range = {half, island.end_ns};
  CHECK(island.labels->withdraw(request)->versions.empty());
  request.range = {island.begin_ns, half};
  auto versions = island.labels->withdraw(request)->versions;
  REQUIRE(versions.size() == 1);
  CHECK(versions[0].version == 2);
  CHECK(versions[0].state == storage::ModelState::serving);
  CHECK(island.engine->serving("toy") == 2u);  // it is for a person to decide
}

TEST_CASE("labels: which predictions a version used survives as a few bits each; damaged notes are refused") {
  const std::vector<uint64_t> ids = {1, 2, 3, 130, 131, 1'000'000, UINT64_MAX};
  CHECK(*decode_ids(encode_ids({131, 3, 2, 1, 130, 1'000'000, UINT64_MAX, 3})) == ids);
  CHECK(decode_ids("")->empty());
  CHECK(encode_ids({1, 2, 3, 4, 5}).size() == 5);
  CHECK(decode_ids("\x80").error().code == Code::corrupt);
  CHECK(decode_ids(std::string(12, '\xff')).error().code == Code::corrupt);
  CHECK(decode_ids(encode_ids({UINT64_MAX}) + "\x01").error().code == Code::corrupt);
}

namespace {

storage::Prediction answered(uint64_t id, std::vector<float> scores, int64_t from_ns) {
  storage::Prediction p;
  p.id = storage::PredictionId{id};
  p.model = "toy";
  p.series = "imu";
  p.window = {from_ns, from_ns + 10};
  p.top = static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  p.scores = std::move(scores);
  return p;
}

}  // namespace

TEST_CASE("labels: asks about what the model is least sure of, not ten times the same, and not about overlapping windows") {
  std::vector<storage::Prediction> answers;
  for (uint64_t i = 0; i < 50; ++i) answers.push_back(answered(i + 1, {9, 0, 0}, static_cast<int64_t>(100 * i)));           // sure
  for (uint64_t i = 50; i < 60; ++i) answers.push_back(answered(i + 1, {3, 2.9f, -5}, static_cast<int64_t>(100 * i)));      // 0 or 1
  answers.push_back(answered(61, {-5, 2, 1.8f}, 6100));                                                                  // 1 or 2
  answers.push_back(answered(62, {3, 3, -5}, 100 * 50 + 5));                                                             // overlaps number 51
  answers.push_back(answered(63, {3, 3, 3}, 7000));
  answers.back().label = 1;  // known already
  answers.push_back(answered(64, {NAN, 3, 3}, 8000));
  answers.push_back(answered(65, {1}, 9000));

  const std::vector<Proposal> two = choose_next(answers, 2);
  REQUIRE(two.size() == 2);
  CHECK(number(two[0].prediction.id) == 62);
  CHECK(two[0].margin == Approx(0).margin(1e-6));
  CHECK(two[0].second == 1);
  CHECK(number(two[1].prediction.id) == 61);  // less unsure than the other nine, but of another kind
  CHECK(two[1].second == 2);
  for (const Proposal& proposal : choose_next(answers, 100)) {
    CHECK(number(proposal.prediction.id) <= 62);
    CHECK(number(proposal.prediction.id) != 51);
  }
  CHECK(choose_next({}, 5).empty());
}

TEST_CASE("labels: what a trusted source said stays when others contradict it, and both are kept with their sources") {
  Island island;
  island.options.trusted_sources = "inspector, operator";
  island.package(1);
  island.start();
  island.feed(8);
  auto say = [&](const std::string& name, const std::string& source) {
    LabelRequest request;
    request.series = island.series.text();
    request.range = {island.begin_ns, island.end_ns};
    request.label = name;
    request.source = source;
    auto outcome = island.labels->apply(request);
    REQUIRE(outcome.ok());
    return *outcome;
  };
  auto all_say = [&](int32_t label) {
    for (const storage::Example& e : *island.store->examples("toy", 10'000)) {
      if (e.label != label) return false;
    }
    return true;
  };
  const uint32_t all = say("low", "button").predictions;
  CHECK(say("middle", "another button").overruled == 0);  // equally trusted: the newer counts
  CHECK(all_say(1));
  CHECK(say("high", "operator").overruled == 0);
  CHECK(all_say(2));
  const auto score = island.store->live_score("toy", 1);
  const auto logged = island.store->labels("toy", 100'000)->size();

  const LabelOutcome refused = say("low", "button");
  CHECK(refused.overruled == all);
  CHECK(refused.examples == 0);
  CHECK(all_say(2));
  CHECK(island.store->live_score("toy", 1) == score);
  CHECK(island.store->labels("toy", 100'000)->size() == logged + all);
  CHECK(island.store->labels("toy", 1)->front().source == "button");

  island.start();  // over a restart
  CHECK(say("high", "button").overruled == 0);  // no conflict
  CHECK(say("low", "button").overruled == all);
  LabelRequest take_back;
  take_back.series = island.series.text();
  take_back.range = {island.begin_ns, island.end_ns};
  take_back.source = "button";
  auto kept = island.labels->withdraw(take_back);
  REQUIRE(kept.ok());
  CHECK(kept->predictions == 0);
  CHECK(kept->overruled == all);
  CHECK(island.store->live_score("toy", 1) == score);

  CHECK(say("high", "inspector").overruled == 0);  // confirms: now the operator can't change it
  CHECK(say("low", "operator").overruled == all);
  take_back.source = "inspector";
  CHECK(island.labels->withdraw(take_back)->predictions == all);
  CHECK(say("low", "button").overruled == 0);
  CHECK(all_say(0));
}

TEST_CASE("labels: trust goes by the order in the configuration, hardness by how far the answer was from the label") {
  Options options;
  CHECK(trust_of(options, "operator") == 0);
  options.trusted_sources = "inspector, operator ,, button";
  CHECK(trust_of(options, "inspector") == 3);
  CHECK(trust_of(options, "operator") == 2);
  CHECK(trust_of(options, "button") == 1);
  CHECK(trust_of(options, "") == 0);
  CHECK(hardness_of({9, 0, 0}, 1) == 255);
  CHECK(hardness_of({9, 0, 0}, 0) == 0);
  CHECK(hardness_of({1, 1, 0}, 0) == 254);
  CHECK(hardness_of({2, 1, 0}, 0) < hardness_of({2, 1.5f, 0}, 0));
  CHECK(hardness_of({NAN, NAN}, 0) == 0);
  CHECK(hardness_of({3}, 0) == 0);
  CHECK(hardness_of({}, 0) == 0);
}
