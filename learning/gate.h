// The gate: may this candidate's int8 artefact replace the serving one? Pure, on counts over the same examples, each answered by both.
// Better on the node's own held-out examples, and not worse on the pinned reference set by a margin: both with the confidence that the
// package asks for, never by a bare difference. Better, but not with confidence: unproven, which goes on probation (rollout.h). Labels that the others and the parent contradict are no evidence; where too many labels
// contradict each other, nothing is decided on them at all.
#pragma once

#include <cstdint>
#include <string>

#include "inference/package.h"

namespace skerry::learning {

// How two versions did on the same examples. `gained`: the candidate is right and the parent was wrong; `lost`: the other way round.
struct Paired {
  uint32_t examples = 0, parent_correct = 0, candidate_correct = 0;
  uint32_t gained = 0, lost = 0;
  // The same without neighbours: windows that overlap are one piece of evidence, not two.
  uint32_t gained_apart = 0, lost_apart = 0;

  // False for counts that no two versions can have: a broken report.
  bool consistent() const;
  double parent() const { return examples == 0 ? 0 : static_cast<double>(parent_correct) / examples; }
  double candidate() const { return examples == 0 ? 0 : static_cast<double>(candidate_correct) / examples; }
};

// One-sided p-value of "the candidate is no better" (McNemar 1947, exact, mid-p: Fagerland et al. 2013, BMC Med. Res. Methodol. 13:91).
double mcnemar_mid_p(uint32_t gained, uint32_t lost);
// Lower confidence bound of the difference of two paired proportions, in [-1, 1] (score interval: Tango 1998, Stat. Med. 17:891).
double paired_lower_bound(uint32_t examples, uint32_t gained, uint32_t lost, double confidence);
// Quantile of the standard normal distribution, p in (0, 1) (Acklam's rational approximation, relative error below 2e-9).
double normal_quantile(double p);

// What cross-validation says of the own labels (worker/label_check.h). contradicted: by models that were trained on the other labels; doubted: of
// these, by the parent as well. Doubted ones are not among the examples of the counts above.
struct LabelCounts {
  uint32_t labels = 0, contradicted = 0, doubted = 0;
  bool consistent() const;
};

struct GateInputs {               // int8 artefacts
  Paired holdout, reference;
  bool finite = true;             // no NaN or infinity in any output
  LabelCounts labels;             // none: not looked at
};

struct GateDecision {
  bool pass = false;
  bool unproven = false;          // it fails only because chance may have made its gain: labels to come may prove it (rollout.h)
  std::string reason;             // with the numbers, for people
};

GateDecision decide_gate(const inference::GateSpec& spec, const GateInputs& inputs);

}  // namespace skerry::learning
