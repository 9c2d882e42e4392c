#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::learning::test::Island;
using skerry::learning::test::write_result;
using storage::ModelState;

namespace {

// An island with a serving model and enough labels.
void prepare(Island& island) {
  island.package(1);
  island.start();
  island.feed(8);
  island.label_all();
}

}  // namespace

TEST_CASE("learner: labels lead to a job, the job to a promoted version and a queued delta") {
  Island island;
  prepare(island);
  island.run(2);
  CHECK(island.script.started == 0);  // not idle for long enough
  island.run(10);
  CHECK(island.script.started == 1);
  CHECK(island.engine->serving("toy") == 2u);
  CHECK(island.version(2).state == ModelState::serving);
  CHECK(island.version(2).parent == 1);
  CHECK_FALSE(island.version(2).job.empty());
  CHECK(island.version(2).holdout_accuracy > 0);
  CHECK(island.version(1).pinned);
  auto deltas = island.deltas();
  REQUIRE(deltas.size() == 1);
  CHECK(deltas[0].subject == "toy/2");
  CHECK(decode_delta(deltas[0].payload)->version == 2);
  CHECK(island.learner->status().promoted == 1);

  island.run(30);  // the same labels do not train again, not after a restart either
  island.start();
  island.run(30);
  CHECK(island.script.started == 1);
  CHECK(island.deltas().size() == 1);

  island.feed(8);  // new ones do
  island.label_all();
  island.run(10);
  CHECK(island.engine->serving("toy") == 3u);
}

TEST_CASE("learner: the job holds the examples of both roles, recent windows and the parent") {
  Island island;
  prepare(island);
  island.script.hangs = true;
  island.run(10);
  REQUIRE(island.script.jobs.size() == 1);
  auto job = island.script.jobs[0];
  auto spec = read_job(job);
  REQUIRE(spec.ok());
  CHECK(spec->target.version == 2);
  CHECK(spec->target.parent == 1);
  size_t train = read_examples(job / kTrainFile)->windows.size(), holdout = read_examples(job / kHoldoutFile)->windows.size();
  CHECK(train + holdout == island.store->examples("toy", 10'000)->size());
  CHECK(train > 0);
  CHECK(holdout > 0);
  CHECK(read_examples(job / kCalibrationFile)->windows.size() > 100);
  CHECK(inference::Package::open(job / "parent", 1 << 20)->info.version == 1);
  CHECK(island.learner->status().state == "training toy/2");
}

TEST_CASE("learner: a candidate that is no better is rejected with the numbers") {
  Island island;
  island.script.work = [](const auto& job) { return write_result(job, "linear 2", 0.9, 0.8); };
  prepare(island);
  island.run(10);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("held-out") != std::string::npos);
  CHECK(island.deltas().empty());
  island.run(30);
  CHECK(island.script.started == 1);
  CHECK(*island.models->next_version("toy") == 3);
}

TEST_CASE("learner: a job that fails twice is given up with its reason") {
  Island island;
  island.script.work = [](const auto&) { return WorkerExit{false, "exit code 4: out of memory"}; };
  prepare(island);
  island.run(60);
  CHECK(island.script.started == 2);
  CHECK(island.script.jobs[0] == island.script.jobs[1]);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("out of memory") != std::string::npos);
  CHECK(island.learner->status().jobs_failed == 1);
  CHECK(island.engine->serving("toy") == 1u);
}

TEST_CASE("learner: garbage as a result counts as a failure and never serves") {
  Island island;
  int round = 0;
  island.script.work = [&](const std::filesystem::path& job) {
    if (++round == 1) {
      std::filesystem::create_directories(job / "result");
      REQUIRE(write_file_atomic(job / "result/report.json", "{\"gate\": 7}").ok());
      return WorkerExit{true, ""};
    }
    return write_result(job, "nan", 0.7, 0.9);
  };
  prepare(island);
  island.run(60);
  CHECK(round == 2);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(2).state == ModelState::rejected);
}

TEST_CASE("learner: a restart in the middle resumes the same job folder") {
  Island island;
  island.script.hangs = true;
  prepare(island);
  island.run(10);
  REQUIRE(island.script.started == 1);
  island.start();
  CHECK(island.script.killed == 1);
  island.script.hangs = false;
  island.run(20);
  CHECK(island.script.started == 2);
  CHECK(island.script.jobs[0] == island.script.jobs[1]);
  CHECK(island.engine->serving("toy") == 2u);
  CHECK(island.deltas().size() == 1);
}

TEST_CASE("learner: a result that was finished while nobody watched is taken at the next start") {
  Island island;
  island.script.hangs = true;
  prepare(island);
  island.run(10);
  REQUIRE(island.script.jobs.size() == 1);
  write_result(island.script.jobs[0], "linear 2", 0.7, 0.9);
  island.start();
  island.run(2);
  CHECK(island.script.started == 1);
  CHECK(island.engine->serving("toy") == 2u);
}

TEST_CASE("learner: a busy device pauses the job, a quiet one resumes it") {
  Island island;
  island.script.hangs = true;
  prepare(island);
  island.run(10);
  REQUIRE(island.script.started == 1);
  island.cpu = 0.95;
  const SteadyTime busy_from = island.clock.steady();
  while (island.script.paused == 0) island.run(1);
  CHECK(island.clock.steady() - busy_from <= std::chrono::milliseconds(100));
  CHECK(island.learner->status().state == "paused toy/2");
  SECTION("soon") {
    island.cpu = 0.1;
    island.script.hangs = false;
    island.run(300);
    CHECK(island.script.started == 1);  // it went on where it was
    CHECK(island.engine->serving("toy") == 2u);
  }
  SECTION("much later: the worker's memory was given back meanwhile") {
    for (int i = 0; i < 14'000 && island.script.killed == 0; ++i) island.run(1);
    CHECK(island.script.killed == 1);
    island.cpu = 0.1;
    island.script.hangs = false;
    island.run(300);
    CHECK(island.script.started == 2);
    CHECK(island.engine->serving("toy") == 2u);
  }
}

TEST_CASE("learner: drift or the calendar train with fewer labels") {
  Island island;
  inference::PackageInfo patient = island.info(1);
  patient.training.labels_min = 1'000'000;
  SECTION("drift") {
    inference::test::make_package(island.dir.path() / "models" / "toy" / "1", patient, "linear 1");
    island.start();
    island.feed(8);
    REQUIRE(island.label(island.begin_ns, island.end_ns, "high").ok());
    island.run(8);
    CHECK(island.script.started == 0);
    const int64_t from = island.end_ns;
    island.feed(8);
    REQUIRE(island.label(from, island.end_ns, "low").ok());  // the toy says "high"
    island.run(8);
    CHECK(island.script.started == 1);
    CHECK(island.models->decisions().newest("toy", 100).back().reason.find("first version") != std::string::npos);
    bool told = false;
    for (const Decision& d : island.models->decisions().newest("toy", 100)) told = told || d.reason.find("errors rose") != std::string::npos;
    CHECK(told);
  }
  SECTION("calendar") {
    patient.training.every = std::chrono::hours(24);
    inference::test::make_package(island.dir.path() / "models" / "toy" / "1", patient, "linear 1");
    island.start();
    island.feed(8);
    REQUIRE(island.label(island.begin_ns, island.end_ns, "high").ok());
    island.run(8);
    CHECK(island.script.started == 0);
    island.clock.advance(std::chrono::hours(24));
    island.run(8);
    CHECK(island.script.started == 1);
  }
}

TEST_CASE("learner: limits of time and memory end a job") {
  Island island;
  island.script.hangs = true;
  SECTION("memory") { island.script.memory = 3ULL << 30; }
  SECTION("time") { island.options.job_time_max = std::chrono::seconds(2); }
  prepare(island);
  island.run(200);
  CHECK(island.script.killed == 2);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.engine->serving("toy") == 1u);
}

TEST_CASE("learner: a candidate whose parent was rolled back in the meantime is rejected") {
  Island island;
  island.package(1);
  island.start();
  island.candidate(2, "linear 3");
  REQUIRE(island.models->promote("toy", 2, "").ok());
  island.feed(8);
  island.label_all();
  island.script.hangs = true;
  island.run(10);
  REQUIRE(island.script.started == 1);
  REQUIRE(island.models->rollback("toy", "by hand").ok());
  island.script.hangs = false;
  island.run(2);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(3).state == ModelState::rejected);
  CHECK(island.version(3).reason.find("no longer serves") != std::string::npos);
}

TEST_CASE("learner: by hand it trains with fewer labels, and when switched off not at all") {
  Island island;
  island.package(1);
  SECTION("by hand") {
    island.start();
    island.feed(4);
    auto few = island.label(island.begin_ns, island.begin_ns + 2'000'000'000, "high");
    REQUIRE(few.ok());
    island.learner->train_now("toy");
    island.run(10);
    CHECK(island.script.started == 1);
  }
  SECTION("by hand, whatever was counted before") {
    inference::PackageInfo patient = island.info(1);
    patient.training.labels_min = 1'000'000;
    inference::test::make_package(island.dir.path() / "models" / "toy" / "1", patient, "linear 1");
    island.start();
    island.feed(4);
    island.run(3);
    CHECK(island.learner->status().why.find("held-out examples: 0 of 2") != std::string::npos);
    island.label_all();
    island.run(3);
    CHECK(island.learner->status().why.find("waits for labels") != std::string::npos);
    CHECK(island.script.started == 0);
    island.learner->train_now("toy");
    island.run(10);
    CHECK(island.script.started == 1);
  }
  SECTION("off") {
    island.options.enabled = false;
    island.start();
    island.feed(8);
    island.label_all();
    island.run(20);
    CHECK(island.script.started == 0);
    CHECK(island.learner->status().state == "disabled");
  }
}

TEST_CASE("learner: only the newest job folders are kept") {
  Island island;
  island.options.jobs_kept = 2;
  prepare(island);
  for (int round = 0; round < 5; ++round) {
    island.run(12);
    island.feed(8);
    island.label_all();
  }
  auto folders = std::filesystem::directory_iterator(island.options.jobs);
  CHECK(std::distance(begin(folders), end(folders)) <= 3);
  CHECK(*island.engine->serving("toy") >= 5);
}
