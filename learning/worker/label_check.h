// Which own labels to believe. Cross-validation (after "confident learning", Northcutt et al. 2021, J. Artif. Intell. Res. 70:1373): stretches of one
// label are put into folds, and each is answered by a model that was trained on the others. A label that it contradicts is counted; where the
// parent, which never saw any of these labels, says the same as it, the label is doubted: not learned from, and no evidence for the candidate.
// So a label that the parent contradicts is believed as soon as other stretches of time bear it out.
// On failure: as run_phase.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "learning/job.h"

namespace skerry::learning::worker {

enum class Verdict : char { believed = '.', contradicted = '?', doubted = 'x' };

struct LabelVerdicts {
  std::vector<Verdict> train, holdout;  // by window
};

// Pure: the verdict on a label, from the classes that the parent and the model of the other stretches answer.
Verdict judge_label(int32_t label, int32_t parent, int32_t others);
// Pure: the fold of each window, in [0, folds): windows of one stretch (up to eight neighbours of one label) have the same; every
// label's stretches are spread over all.
std::vector<uint32_t> folds_by_stretch(const ExampleSet& set, uint32_t folds);

// Both are in the job folder, for people and for a worker that goes on.
std::string to_json(const LabelVerdicts& verdicts);
// Error: corrupt, also when the numbers of windows are others.
Result<LabelVerdicts> parse_verdicts(const std::string& text, size_t train, size_t holdout);
Result<LabelVerdicts> read_verdicts(const std::filesystem::path& file, size_t train, size_t holdout);

LabelCounts count(const LabelVerdicts& verdicts);
ExampleSet without_doubted(const ExampleSet& set, const std::vector<Verdict>& verdicts);

}  // namespace skerry::learning::worker
