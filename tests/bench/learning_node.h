// A whole node in this process on a simulated clock, with the real store, runtime and worker: people stream, label, and it learns. The worker
// runs at ordinary priority: what is measured is what comes of it, not when.
// Threads: one.
// On failure: Errors of the node as they are; unavailable when a job does not end in ten minutes of real time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "learning/job.h"
#include "node/node.h"
#include "tests/e2e/feed.h"
#include "tests/support/sim_clock.h"

namespace skerry::bench {

class LearningNode {
 public:
  // base: served from the start. `folder`: an empty one. Stretches of that length are held out, or trained on. busy: the device is,
  // while it is true; else it never is.
  static Result<std::unique_ptr<LearningNode>> open(const inference::Package& base, const std::filesystem::path& folder,
                                                    Duration holdout_stretch = std::chrono::seconds(30), const std::atomic<bool>* busy = nullptr);

  Status ingest(const e2e::Piece& piece);  // and answers its windows
  // Labels the windows of the piece, or each of them with what `says` makes of the piece's label.
  using Says = std::function<std::string(const std::string& truth)>;
  Status label(const e2e::Piece& piece);
  Status label_each(const e2e::Piece& piece, const Says& says);
  // Trains on what there is, whatever its number, until the candidate serves, is on probation or refused. Answers in words what was decided.
  Result<std::string> learn();
  // As it does by itself: it looks whether there is reason to train, and if so does it to the end.
  Status let_learn();
  Duration step_learning();                // one step, for those who wait for something else
  uint32_t serving() const;
  // Of the int8 artefact of a version (nullopt: the serving one), in percent.
  Result<double> accuracy(const learning::ExampleSet& windows, std::optional<uint32_t> version = std::nullopt);
  int64_t now_ns() const { return clock_.now_ns(); }
  node::Node& node() { return *node_; }

 private:
  explicit LearningNode(const inference::Package& base) : base_(base) {}

  test::SimClock clock_{1'760'000'000'000'000'000};
  const inference::Package base_;
  std::unique_ptr<node::Node> node_;
};

// A child of a process, whatever its name: the worker executes itself anew.
struct Child {
  pid_t pid = 0;
  bool stopped = false;
};
std::optional<Child> child_of(pid_t parent);

double folder_mb(const std::filesystem::path& folder);

// A package like `base` whose gate lets every candidate pass: what is measured is the way, not the judgement.
Result<inference::Package> without_gate(const inference::Package& base, const std::filesystem::path& folder);

}  // namespace skerry::bench
