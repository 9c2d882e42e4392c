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
