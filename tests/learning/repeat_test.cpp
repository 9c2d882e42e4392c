// A version made again without the labels that were taken back.
#include "learning/provenance.h"
#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::learning::test::Island;
using storage::ModelState;

namespace {

size_t windows(const std::filesystem::path& file) { return read_examples(file)->windows.size(); }

}  // namespace

TEST_CASE("retrain: the job of a version is repeated from its folder and parent, without the labels that were taken back or changed") {
  Island island;
  island.package(1);
  island.start();
  island.feed(8);
  island.label_all();
  island.run(10);
  REQUIRE(island.engine->serving("toy") == 2u);
  const std::filesystem::path first = island.version(2).job;
  CHECK(island.learner->retrain("toy", 2).error().message.find("nothing to repeat") != std::string::npos);
  CHECK(island.learner->retrain("toy", 1).error().code == Code::not_found);
  CHECK(island.learner->retrain("toy", 9).error().code == Code::not_found);

  LabelRequest wrong;
  wrong.series = island.series.text();
  wrong.range = {island.begin_ns, island.begin_ns + 2'000'000'000};
  REQUIRE(island.labels->withdraw(wrong).ok());
  REQUIRE(island.label(island.begin_ns + 2'000'000'000, island.begin_ns + 3'000'000'000, "low").ok());
  auto refused = island.learner->retrain("toy", 2);
  CHECK(refused.error().code == Code::invalid);
  CHECK(refused.error().message.find("skerry models promote toy 1") != std::string::npos);

  island.options.jobs_kept = 0;  // the folder that is repeated stays until it is
  island.start();
  REQUIRE(island.models->rollback("toy", "labels were wrong").ok());
  auto left_out = island.learner->retrain("toy", 2);
  REQUIRE(left_out.ok());
  CHECK(*left_out > 0);
  island.run(20);
  REQUIRE(island.engine->serving("toy") == 3u);
  const storage::ModelVersion again = island.version(3);
  CHECK(again.parent == 1);
  CHECK(read_job(again.job)->seed == read_job(first)->seed);
  CHECK(island.learner->status().promoted == 1);
  CHECK(read_job(again.job)->target.note.find("toy/2 again, without") != std::string::npos);
  const size_t before = windows(first / kTrainFile) + windows(first / kHoldoutFile);
  CHECK(windows(std::filesystem::path(again.job) / kTrainFile) + windows(std::filesystem::path(again.job) / kHoldoutFile) == before - *left_out);
  const auto used = used_by(*island.store, "toy", 3);
  REQUIRE(used.ok());
  CHECK(used->size() == before - *left_out);
  wrong.range = {island.begin_ns, island.begin_ns + 1'000'000'000};
  CHECK(island.labels->withdraw(wrong)->versions.empty());
}

TEST_CASE("retrain: a job folder that is gone or damaged is said to be so") {
  Island island;
  island.package(1);
  island.start();
  island.feed(8);
  island.label_all();
  island.run(10);
  REQUIRE(island.engine->serving("toy") == 2u);
  const std::filesystem::path folder = island.version(2).job;
  REQUIRE(write_file_atomic(folder / kTrainIdsFile, encode_ids({1, 2, 3})).ok());
  CHECK(island.learner->retrain("toy", 2).error().code == Code::corrupt);
  REQUIRE(write_file_atomic(folder / kTrainIdsFile, "\x80").ok());
  CHECK(island.learner->retrain("toy", 2).error().code == Code::corrupt);
  std::filesystem::remove_all(folder);
  auto gone = island.learner->retrain("toy", 2);
  CHECK(gone.error().code == Code::not_found);
  CHECK(gone.error().message.find("jobs_kept") != std::string::npos);
}
