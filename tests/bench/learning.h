// The figures of continual learning: how good a node gets, what it forgets, what wrong labels and faults do to it, and what it costs whoever
// asks meanwhile. Each group on its own: ./bench learning --only GROUP.
// Error: the programs beside this one could not be started or stopped answering. Without its data set a group says that it skips.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// MotionSense, six people that the base has not seen: own and others' short trials after fine-tuning, bytes of the delta.
Result<std::vector<Figure>> learning_people(Size size, const Places& places);
// Twelve rounds on one node: six people in turn, then the same six, carrying the device otherwise.
Result<std::vector<Figure>> learning_year(Size size, const Places& places);
// Rounds with wrong labels: which promoted versions are worse than their parent on clean data; and do honest rounds promote still?
Result<std::vector<Figure>> learning_poison(Size size, const Places& places);
// Prequential accuracy through the third set, against the frozen model and against "as before".
Result<std::vector<Figure>> learning_occupancy(Size size, const Places& places);
// p99 of a daemon that answers 1,000 requests a second, while the worker trains and without.
Result<std::vector<Figure>> learning_latency(Size size, const Places& places);
// From the moment that load comes until the worker stands still.
Result<std::vector<Figure>> learning_preempt(Size size, const Places& places);
// 200 rounds of label, train, promote: what grows, and whether anybody was turned away.
Result<std::vector<Figure>> learning_rounds(Size size, const Places& places);

// The same with the real programs, the daemon and its worker killed at random instants: what is broken, lost or there twice.
Result<std::vector<Figure>> learning_kills(Size size, const Places& places);

}  // namespace skerry::bench
