// A label meets the prediction it is about, perhaps weeks later: the version that answered is scored, the label is queued for the
// hub, and the window becomes an example - in one Effect.
// Whole stretches of time are held out for the gate (Options::holdout_stretch); a training window that would overlap a held-out
// stretch is not kept as an example, so neighbours never leak.
// Threads: any; one label at a time inside.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "inference/engine.h"
#include "learning/next_labels.h"
#include "learning/options.h"
#include "storage/store.h"

namespace skerry::learning {

struct LabelRequest {
  std::optional<uint64_t> prediction;      // either this,
  std::string model;                       // or model (optional when one serves), series and range
  std::string series;
  storage::TimeRange range;                // every prediction whose window lies wholly in it
  std::string label;                       // a class name of the model, or its index as text
  std::string source = "operator";
};

struct LabelOutcome {
  uint32_t predictions = 0;   // scored
  uint32_t examples = 0;      // new or replaced
  uint32_t correct = 0;       // of the scored ones
  uint32_t overruled = 0;     // of the predictions: what a more trusted source said stays; this is only kept and sent
};

struct WithdrawOutcome {
  uint32_t predictions = 0;                     // that had a label
  uint32_t overruled = 0;                       // that keep it: it came from a more trusted source
  std::vector<storage::ModelVersion> versions;  // not rejected, made or judged with any of the labels: ascending
};

class Labels {
 public:
  Labels(storage::Store& store, inference::Engine& engine, const Options& options, const Clock& clock);
  // Repeating a label changes nothing the second time; a different label for the same window replaces the first, unless that came from a more
  // trusted source.
  // Error: invalid (unknown class: lists the known ones), not_found (no such prediction, or none in the range).
  Result<LabelOutcome> apply(const LabelRequest& request);
  // Takes back what was said of the predictions that the request names (its label is not looked at): scores are as before, the examples are gone,
  // and the hub hears of it. What serves stays: it is for a person to decide about the versions that are named. Error: as apply.
  Result<WithdrawOutcome> withdraw(const LabelRequest& request);
  // What to ask a person about next, of the newest predictions of a model (empty: the only one that serves). Error: invalid, not_found.
  Result<std::vector<Proposal>> next(const std::string& model, size_t count_max) const;

 private:
  Result<std::string> the_model(const std::string& asked) const;
  Result<std::vector<storage::Prediction>> select(const LabelRequest& request) const;

  storage::Store& store_;
  inference::Engine& engine_;
  const Options options_;
  const Clock& clock_;
  std::mutex mutex_;
};

// Pure: the role of a window, or nullopt when it straddles a held-out stretch.
std::optional<storage::ExampleRole> example_role(const Options& options, const std::string& series,
                                                 storage::TimeRange window);
// Pure: how far a source is trusted; 0: it is not among the trusted ones.
uint8_t trust_of(const Options& options, const std::string& source);
// Pure: how much an answer leaves to learn when the label is `label`: 255 for a wrong one, the less the surer a right one was.
uint8_t hardness_of(const std::vector<float>& scores, int32_t label);

}  // namespace skerry::learning
