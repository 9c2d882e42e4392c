// Plays the operator for a source that knows what is true: a share of its truths is given as labels, each as soon as the pipelines have
// answered about its stretch of time. So a replay or a simulation shows the whole loop without a person.
// Threads: one at a time.
// On failure: a truth that no prediction is about is counted in unmatched(); what the store refuses for now is tried again; when too
// many wait, the oldest is dropped.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/records.h"
#include "inference/engine.h"
#include "learning/labels.h"
#include "plugins/source.h"

namespace skerry::node {

class Operator {
 public:
  Operator(double share, uint64_t seed) : share_(share), random_(seed) {}

  // What one poll of the source brought and was ingested as number `ingest`.
  void take(const std::vector<Batch>& batches, const std::vector<plugins::Truth>& truths, uint64_t ingest);
  void finish() { finished_ = true; }  // no records will follow

  // Labels at most `count_max` truths that are due: the pipelines have seen everything up to ingest number `passed`.
  // Returns whether there may be more to do at once.
  bool step(learning::Labels& labels, const inference::Engine& engine, uint64_t passed, size_t count_max);

  uint64_t given() const { return given_; }          // predictions labelled
  uint64_t unmatched() const { return unmatched_; }  // truths that no prediction was about
  uint64_t dropped() const { return dropped_; }
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    plugins::Truth truth;
    uint64_t ingest;
  };
  bool due(const Waiting& waiting, uint64_t passed) const;

  const double share_;
  Random random_;
  std::deque<Waiting> waiting_;
  std::map<std::string, int64_t> newest_;  // record time per series
  bool finished_ = false;
  uint64_t given_ = 0, unmatched_ = 0, dropped_ = 0;
};

}  // namespace skerry::node
