#include "learning/worker/label_check.h"

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::learning;
using namespace skerry::learning::worker;
using skerry::test::TempDir;

namespace {

ExampleSet labelled(const std::vector<int32_t>& labels) {
  ExampleSet set{1, 1, {}};
  for (int32_t label : labels) set.windows.push_back({{0.0f}, label});
  return set;
}

}  // namespace

TEST_CASE("label check: a label that the others bear out is believed, whatever the parent says") {
  CHECK(judge_label(2, 2, 2) == Verdict::believed);
  CHECK(judge_label(2, 0, 2) == Verdict::believed);
  CHECK(judge_label(2, 2, 0) == Verdict::contradicted);  // the parent says so too: not doubted
  CHECK(judge_label(2, 1, 0) == Verdict::contradicted);  // two opinions against it are none
  CHECK(judge_label(2, 0, 0) == Verdict::doubted);
}

TEST_CASE("label check: neighbours of one label are in one fold, long stretches in several") {
  CHECK(folds_by_stretch(labelled({0, 0, 1, 1, 1, 0, 2}), 3) == std::vector<uint32_t>{0, 0, 1, 1, 1, 2, 0});
  const std::vector<uint32_t> folds = folds_by_stretch(labelled(std::vector<int32_t>(20, 1)), 3);
  CHECK(std::vector<uint32_t>(folds.begin(), folds.begin() + 8) == std::vector<uint32_t>(8, 0));
  CHECK(folds[8] == 1);
  CHECK(folds[19] == 2);
  CHECK(folds_by_stretch(labelled({}), 3).empty());
}

TEST_CASE("label check: verdicts are counted, left out, written and read again; damaged ones are refused") {
  const LabelVerdicts verdicts{{Verdict::believed, Verdict::doubted, Verdict::contradicted}, {Verdict::doubted}};
  const LabelCounts counts = count(verdicts);
  CHECK(counts.labels == 4);
  CHECK(counts.contradicted == 3);
  CHECK(counts.doubted == 2);
  CHECK(counts.consistent());
  const ExampleSet left = without_doubted(labelled({5, 6, 7}), verdicts.train);
  REQUIRE(left.windows.size() == 2);
  CHECK(left.windows[1].label == 7);

  TempDir dir;
  REQUIRE(write_file_atomic(dir / "labels.json", to_json(verdicts)).ok());
  auto back = read_verdicts(dir / "labels.json", 3, 1);
  REQUIRE(back.ok());
  CHECK(back->train == verdicts.train);
  CHECK(back->holdout == verdicts.holdout);
  CHECK(read_verdicts(dir / "labels.json", 4, 1).error().code == Code::corrupt);  // of another job
  for (const char* bad : {"", "[]", "{\"train\": \"...\"}", "{\"train\": \"..z\", \"holdout\": \".\"}", "{\"train\": 3, \"holdout\": \".\"}"}) {
    REQUIRE(write_file_atomic(dir / "bad.json", bad).ok());
    CHECK(read_verdicts(dir / "bad.json", 3, 1).error().code == Code::corrupt);
  }
  CHECK(read_verdicts(dir / "nothing.json", 3, 1).error().code == Code::not_found);
}
