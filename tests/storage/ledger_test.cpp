// Predictions, labels, scores, examples and model versions in the store.
#include <catch2/catch.hpp>

#include "storage/fsck.h"
#include "storage/internal/database.h"
#include "storage/store.h"
#include "tests/storage/machine.h"
#include "tests/storage/make.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;

namespace {

struct Fixture : Machine {
  PredictionId predict(const std::string& model, uint32_t version, const std::string& series, int64_t from,
                       int32_t top) {
    Effect effect;
    effect.predictions.push_back(prediction(model, version, series, from, 10));
    effect.predictions[0].top = top;
    auto receipt = store->commit(effect);
    REQUIRE(receipt.ok());
    return receipt->predictions.at(0);
  }
  Result<Receipt> label(PredictionId id, int32_t value) {
    Effect effect;
    effect.labels.push_back({});
    effect.labels[0].prediction = id;
    effect.labels[0].value = value;
    effect.labels[0].source = "operator";
    return store->commit(effect);
  }
  ExampleId example(int64_t from, int32_t label, float value, ExampleRole role = ExampleRole::train, uint8_t hardness = 0) {
    Example e;
    e.model = "har";
    e.series = "imu";
    e.window = {from, from + 10};
    e.data = {value, value};
    e.channels = 2;
    e.label = label;
    e.role = role;
    e.hardness = hardness;
    Effect effect;
    effect.examples.push_back(e);
    auto receipt = store->commit(effect);
    REQUIRE(receipt.ok());
    return receipt->examples.at(0);
  }
  Result<Receipt> withdraw(int64_t from) { return label(predict("har", 1, "imu", from, 0), kWithdrawn); }
  // Cuts rows of an example short, as a store would never write them.
  void damage(const std::vector<std::string>& keys) {
    store.reset();
    {
      auto db = storage::internal::Database::open(options);
      REQUIRE(db.ok());
      for (const std::string& key : keys) {
        auto row = (*db)->get(storage::internal::kExamples, key);
        REQUIRE(row.ok());
        row->resize(row->size() / 2);
        REQUIRE((**db)->Put({}, (*db)->family(storage::internal::kExamples), key, *row).ok());
      }
    }
    start();
  }
  std::vector<float> kept() const {
    auto examples = store->examples("har", 1000);
    REQUIRE(examples.ok());
    std::vector<float> out;
    for (const Example& e : *examples) out.push_back(e.data[0]);
    return out;
  }
};

LiveScore score(uint64_t predictions, uint64_t labelled, uint64_t correct) { return {predictions, labelled, correct}; }

}  // namespace

TEST_CASE("ledger: a prediction is found by its id with everything it was given") {
  Fixture f;
  const PredictionId id = f.predict("har", 3, "imu{device=a}", f.clock.now_ns(), 1);
  f.start();
  Prediction expected = prediction("har", 3, "imu{device=a}", f.clock.now_ns(), 10);
  expected.id = id;
  auto back = f.store->prediction(id);
  REQUIRE(back.ok());
  CHECK(*back == expected);
  CHECK(f.store->prediction(PredictionId{99}).error().code == Code::not_found);
}

TEST_CASE("ledger: predictions are listed newest first, by model, series and range") {
  Fixture f;
  for (int i = 0; i < 6; ++i) f.predict(i % 2 ? "har" : "pump", 1, i < 3 ? "a" : "b", 1000 + i * 100, 0);
  f.predict("har", 1, "", 5000, 0);
  auto froms = [&](const std::string& model, const std::string& series, TimeRange range, size_t max = 100) {
    auto list = f.store->predictions(model, series, range, max);
    REQUIRE(list.ok());
    std::vector<int64_t> out;
    for (const Prediction& p : *list) out.push_back(p.window.from_ns);
    return out;
  };
  CHECK(froms("", "", {}) == std::vector<int64_t>{5000, 1500, 1400, 1300, 1200, 1100, 1000});
  CHECK(froms("har", "", {}) == std::vector<int64_t>{5000, 1500, 1300, 1100});
  CHECK(froms("", "a", {}) == std::vector<int64_t>{1200, 1100, 1000});
  CHECK(froms("pump", "a", {}) == std::vector<int64_t>{1200, 1000});
  CHECK(froms("", "b", {1300, 1410}) == std::vector<int64_t>{1400, 1300});
  CHECK(froms("", "b", {1300, 1409}) == std::vector<int64_t>{1300});  // the window of 1400 ends at 1410
  CHECK(froms("", "b", {1301, 1510}) == std::vector<int64_t>{1500, 1400});
  CHECK(froms("", "", {}, 2) == std::vector<int64_t>{5000, 1500});
  CHECK(froms("", "nothing", {}).empty());
}

TEST_CASE("ledger: a label counts once however often it is repeated, and a changed one is counted anew") {
  Fixture f;
  const PredictionId right = f.predict("har", 2, "imu", 1000, 1), wrong = f.predict("har", 2, "imu", 2000, 0);
  CHECK(f.store->live_score("har", 2) == score(2, 0, 0));
  for (int round = 0; round < 3; ++round) {
    REQUIRE(f.label(right, 1).ok());
    REQUIRE(f.label(wrong, 1).ok());
    CHECK(f.store->live_score("har", 2) == score(2, 2, 1));
  }
  REQUIRE(f.label(wrong, 0).ok());
  CHECK(f.store->live_score("har", 2) == score(2, 2, 2));
  REQUIRE(f.label(right, 0).ok());
  f.start();
  CHECK(f.store->live_score("har", 2) == score(2, 2, 1));
  CHECK(f.store->prediction(right)->label == 0);
  CHECK(f.store->live_score("har", 1) == score(0, 0, 0));
}

TEST_CASE("ledger: two labels of one prediction in one effect count as one") {
  Fixture f;
  const PredictionId id = f.predict("har", 2, "imu", 1000, 1);
  Effect effect;
  effect.labels.resize(2);
  for (Label& l : effect.labels) l.prediction = id;
  effect.labels[0].value = 1;
  effect.labels[1].value = 2;
  REQUIRE(f.store->commit(effect).ok());
  CHECK(f.store->live_score("har", 2) == score(1, 1, 0));
  CHECK(f.store->prediction(id)->label == 2);
}

TEST_CASE("ledger: a label of an unknown prediction or another model writes nothing") {
  Fixture f;
  const PredictionId id = f.predict("har", 2, "imu", 1000, 1);
  auto unknown = f.label(PredictionId{77}, 1);
  CHECK(unknown.error().code == Code::not_found);
  CHECK(unknown.error().message.find("77") != std::string::npos);
  Effect other;
  other.labels.push_back({});
  other.labels[0].prediction = id;
  other.labels[0].model = "pump";
  other.labels[0].value = 1;
  CHECK(f.store->commit(other).error().code == Code::invalid);
  CHECK(f.label(id, -1).error().code == Code::invalid);
  CHECK(f.store->labels("", 10)->empty());
  CHECK(f.store->live_score("har", 2) == score(1, 0, 0));
}

TEST_CASE("ledger: labels are listed newest first and carry what the prediction knew") {
  Fixture f;
  const PredictionId id = f.predict("har", 2, "imu", 1000, 1);
  REQUIRE(f.label(id, 1).ok());
  Effect by_range;
  by_range.labels.push_back({});
  by_range.labels[0].model = "pump";
  by_range.labels[0].series = "vibration";
  by_range.labels[0].window = {5, 6};
  by_range.labels[0].value = 0;
  REQUIRE(f.store->commit(by_range).ok());
  auto all = f.store->labels("", 10);
  REQUIRE(all->size() == 2);
  CHECK((*all)[0].model == "pump");
  CHECK((*all)[1].series == "imu");
  CHECK((*all)[1].window == TimeRange{1000, 1010});
  CHECK((*all)[1].source == "operator");
  CHECK(f.store->labels("har", 10)->size() == 1);
  CHECK(f.store->labels("", 1)->size() == 1);
}

TEST_CASE("ledger: an example of the same window replaces the earlier one, and the very same one changes nothing") {
  Fixture f;
  const ExampleId first = f.example(100, 1, 0.5f), other = f.example(200, 1, 0.75f);
  CHECK(f.example(100, 1, 0.5f) == first);
  CHECK(f.store->example_counts("har", ExampleId::none).value().all() == 2);
  const ExampleId replaced = f.example(100, 2, 0.5f);
  CHECK(number(replaced) > number(other));
  CHECK(f.kept() == std::vector<float>{0.75f, 0.5f});
  CHECK(f.store->example_counts("har", ExampleId::none).value().all() == 2);
  CHECK(f.store->example_counts("har", other).value().all() == 1);
  CHECK(f.store->example_counts("har", replaced).value().all() == 0);
  CHECK(f.store->example_counts("other", ExampleId::none).value().all() == 0);
  auto examples = f.store->examples("har", 1);
  REQUIRE(examples->size() == 1);  // the newest
  CHECK((*examples)[0].id == replaced);
  CHECK((*examples)[0].label == 2);
}

TEST_CASE("ledger: above its quota the oldest example of that class and role goes") {
  Fixture f;
  f.options.examples_per_class_max = 3;
  f.start();
  f.example(1, 0, 100.f);
  f.example(2, 1, 200.f, ExampleRole::holdout);
  for (int i = 0; i < 5; ++i) f.example(10 + i, 1, static_cast<float>(i));
  CHECK(f.kept() == std::vector<float>{100.f, 200.f, 2.f, 3.f, 4.f});
  CHECK(f.store->example_counts("har", ExampleId::none)->train == 4);
  CHECK(f.store->example_counts("har", ExampleId::none)->holdout == 1);
  f.start();
  f.example(20, 1, 5.f);
  CHECK(f.kept() == std::vector<float>{100.f, 200.f, 3.f, 4.f, 5.f});
  f.example(20, 0, 6.f);  // relabelled: moves to the other class
  f.example(21, 1, 7.f);
  CHECK(f.kept() == std::vector<float>{100.f, 200.f, 3.f, 4.f, 6.f, 7.f});
  Effect many;  // the quota also holds within one effect
  for (int i = 0; i < 10; ++i) {
    Example e;
    e.model = "har";
    e.series = "imu";
    e.window = {500 + i, 510 + i};
    e.data = {static_cast<float>(50 + i)};
    e.channels = 1;
    e.label = 4;
    many.examples.push_back(e);
  }
  REQUIRE(f.store->commit(many).ok());
  CHECK(f.store->example_counts("har", ExampleId::none).value().all() == 9);
  CHECK(f.kept().back() == 59.f);
}

TEST_CASE("ledger: a withdrawn example whose row is damaged leaves its own class, not the one that the damage names") {
  Fixture f;
  f.options.examples_per_class_max = 2;
  f.start();
  f.example(10, 0, 10.f);
  f.example(20, 0, 20.f);
  const ExampleId damaged = f.example(30, 1, 30.f);
  f.example(40, 1, 40.f);
  f.damage({storage::internal::key::example_of_model("har", damaged)});  // half of it reads as class 0
  REQUIRE(f.withdraw(30).ok());
  CHECK(f.kept() == std::vector<float>{10.f, 20.f, 40.f});
  f.example(50, 1, 50.f);
  CHECK(f.kept() == std::vector<float>{10.f, 20.f, 40.f, 50.f});  // class 1 had room for it
  f.example(60, 0, 60.f);
  CHECK(f.kept() == std::vector<float>{20.f, 40.f, 50.f, 60.f});  // class 0 had none
}

TEST_CASE("ledger: an example whose rows are all damaged is not withdrawn from any class, and says how to mend it") {
  Fixture f;
  f.options.examples_per_class_max = 2;
  f.start();
  f.example(10, 0, 10.f);
  f.example(20, 0, 20.f);
  const ExampleId damaged = f.example(30, 1, 30.f);
  f.damage({storage::internal::key::example_of_model("har", damaged), storage::internal::key::example(damaged)});
  const auto refused = f.withdraw(30);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Code::corrupt);
  CHECK(refused.error().message.find("fsck --repair") != std::string::npos);
  f.example(60, 0, 60.f);
  CHECK(f.kept() == std::vector<float>{20.f, 60.f});
  f.store.reset();
  REQUIRE(fsck(f.options, {.repair = true}).ok());
  f.start();
  CHECK(f.withdraw(30).ok());
}

TEST_CASE("ledger: of training examples the easy ones go first, the hard ones not never, and held-out ones by age alone") {
  Fixture f;
  f.options.examples_per_class_max = 8;
  f.start();
  for (int i = 0; i < 4; ++i) f.example(i, 1, static_cast<float>(i), ExampleRole::train, 200);
  for (int i = 4; i < 40; ++i) f.example(i, 1, static_cast<float>(i), ExampleRole::train, 1);
  f.start();
  std::vector<float> kept = f.kept();
  REQUIRE(kept.size() == 8);
  CHECK(kept.back() == 39.f);
  const auto hard = std::count_if(kept.begin(), kept.end(), [](float value) { return value < 4; });
  CHECK(hard == 0);  // every fourth that came took the oldest
  for (int i = 100; i < 108; ++i) f.example(i, 1, static_cast<float>(i), ExampleRole::train, i % 2 ? 200 : 1);
  kept = f.kept();
  CHECK(std::count_if(kept.begin(), kept.end(), [](float value) { return value > 99 && static_cast<int>(value) % 2 == 1; }) >= 3);

  for (int i = 0; i < 20; ++i) f.example(1000 + i, 2, static_cast<float>(1000 + i), ExampleRole::holdout, i < 5 ? 200 : 1);
  kept = f.kept();
  CHECK(std::vector<float>(kept.end() - 8, kept.end()) == std::vector<float>{1012, 1013, 1014, 1015, 1016, 1017, 1018, 1019});
  auto examples = f.store->examples("har", 1);
  CHECK(examples->front().hardness == 1);
}

TEST_CASE("ledger: when the examples of a model need more bytes than they may, the largest class gives way") {
  Fixture f;
  f.options.examples_bytes_max = 64 << 10;
  f.start();
  Example e;
  e.series = "imu";
  e.channels = 1;
  e.data.assign(250, 0.f);  // about 1 kB
  auto add = [&](const std::string& model, int64_t from, int32_t label, ExampleRole role) {
    e.model = model;
    e.window = {from, from + 10};
    e.label = label;
    e.role = role;
    Effect effect;
    effect.examples.push_back(e);
    REQUIRE(f.store->commit(effect).ok());
  };
  auto of_class = [&](const std::string& model, int32_t label) {
    const auto examples = f.store->examples(model, 1000).value();
    return std::count_if(examples.begin(), examples.end(), [&](const Example& one) { return one.label == label; });
  };
  for (int i = 0; i < 10; ++i) add("har", i, 0, ExampleRole::train);
  for (int i = 10; i < 15; ++i) add("har", i, 1, ExampleRole::holdout);
  for (int i = 15; i < 200; ++i) add("har", i, 2, ExampleRole::train);
  for (int i = 0; i < 20; ++i) add("pump", i, 0, ExampleRole::train);  // another model's quota
  const auto all = f.store->example_counts("har", ExampleId::none)->all();
  CHECK(all >= 55);
  CHECK(all <= 64);
  CHECK(of_class("har", 0) == 10);
  CHECK(of_class("har", 1) == 5);
  CHECK(of_class("har", 2) == static_cast<long>(all) - 15);
  CHECK(of_class("pump", 0) == 20);
  f.options.examples_bytes_max = 20 << 10;  // less than there is: the next label makes room
  f.start();
  add("har", 500, 1, ExampleRole::train);
  CHECK(f.store->example_counts("har", ExampleId::none)->all() <= 20);
  CHECK(of_class("har", 1) >= 5);
  CHECK(f.store->examples("har", 1)->front().window.from_ns == 500);
}

TEST_CASE("ledger: a label of less trust is kept and changes nothing") {
  Fixture f;
  const PredictionId id = f.predict("har", 2, "imu", 1000, 1);
  auto say = [&](int32_t value, uint8_t trust) {
    Effect effect;
    effect.labels.push_back({});
    effect.labels[0].prediction = id;
    effect.labels[0].value = value;
    effect.labels[0].trust = trust;
    REQUIRE(f.store->commit(effect).ok());
  };
  say(1, 2);
  CHECK(f.store->live_score("har", 2) == score(1, 1, 1));
  say(0, 1);
  f.start();
  CHECK(f.store->prediction(id)->label == 1);
  CHECK(f.store->prediction(id)->label_trust == 2);
  CHECK(f.store->live_score("har", 2) == score(1, 1, 1));
  CHECK(f.store->labels("har", 10)->size() == 2);
  CHECK(f.store->labels("har", 1)->front().trust == 1);
  say(-2, 1);  // nor can it be withdrawn
  CHECK(f.store->prediction(id)->label == 1);
  say(1, 3);
  CHECK(f.store->prediction(id)->label_trust == 3);
  say(0, 2);
  CHECK(f.store->prediction(id)->label == 1);
  say(-2, 3);
  CHECK(f.store->prediction(id)->label == -1);
  CHECK(f.store->live_score("har", 2) == score(1, 0, 0));
  say(0, 0);
  CHECK(f.store->live_score("har", 2) == score(1, 1, 0));
}

TEST_CASE("ledger: versions are replaced by model and number, and listed in order") {
  Fixture f;
  auto put = [&](const std::string& model, uint32_t version, ModelState state) {
    ModelVersion v;
    v.model = model;
    v.version = version;
    v.state = state;
    v.reason = "because";
    Effect effect;
    effect.versions.push_back(v);
    REQUIRE(f.store->commit(effect).ok());
  };
  put("har", 10, ModelState::candidate);
  put("har", 9, ModelState::serving);
  put("ha", 1, ModelState::retired);
  put("har", 10, ModelState::serving);
  f.start();
  auto har = f.store->versions("har");
  REQUIRE(har->size() == 2);
  CHECK((*har)[0].version == 9);
  CHECK((*har)[1].state == ModelState::serving);
  CHECK(f.store->versions("")->size() == 3);
  CHECK(f.store->versions("ha")->size() == 1);
}

TEST_CASE("ledger: what is too large or misshapen is refused and names the limit") {
  Fixture f;
  Effect effect;
  SECTION("a prediction with too many scores") {
    effect.predictions.push_back(prediction("har", 1, "imu", 0, 1));
    effect.predictions[0].scores.resize(65537);
  }
  SECTION("a prediction without a model") { effect.predictions.push_back(prediction("", 1, "imu", 0, 1)); }
  SECTION("a prediction whose series is no series") {
    effect.predictions.push_back(prediction("har", 1, "imu{", 0, 1));
  }
  SECTION("a payload above 16 MiB") {
    effect.outbox.push_back({OutboxClass::model, EntryKind::model_delta, "har/1", std::string((16 << 20) + 1, 'x')});
  }
  SECTION("an outbox class that does not exist") {
    effect.outbox.push_back({static_cast<OutboxClass>(9), EntryKind::model_delta, "har/1", ""});
  }
  SECTION("an example that does not divide into its channels") {
    effect.examples.push_back({});
    effect.examples[0].model = "har";
    effect.examples[0].data = {1, 2, 3};
    effect.examples[0].channels = 2;
    effect.examples[0].label = 0;
  }
  SECTION("a note without a name") { effect.notes.emplace_back("", "x"); }
  SECTION("a window that ends before it begins") { effect.predictions.push_back(prediction("har", 1, "imu", 10, -5)); }
  auto refused = f.store->commit(effect);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Code::invalid);
  CHECK(!refused.error().message.empty());
}
