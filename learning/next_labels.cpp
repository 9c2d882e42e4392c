#include "learning/next_labels.h"

#include <algorithm>
#include <cmath>

namespace skerry::learning {
namespace {

constexpr size_t kConsidered = 20;  // unsure ones, for each that is asked for

struct Candidate {
  const storage::Prediction* prediction = nullptr;
  std::vector<double> shares;  // of the classes, by softmax
  double margin = 0;
  int32_t second = -1;
  double apart = 2;            // from the nearest that was chosen: distance of the shares, [0, 2]
  bool covered = false;        // overlaps one that was chosen
};

Candidate look_at(const storage::Prediction& prediction) {
  Candidate out{&prediction, {}};
  const std::vector<float>& scores = prediction.scores;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float score : scores) sum += out.shares.emplace_back(std::exp(score - top));
  for (double& share : out.shares) share /= sum;
  double first = -1, next = -1;
  for (size_t i = 0; i < out.shares.size(); ++i) {
    if (out.shares[i] > first) {
      next = first;
      first = out.shares[i];
    } else if (out.shares[i] > next) {
      next = out.shares[i];
    }
  }
  for (size_t i = 0; i < out.shares.size() && out.second < 0; ++i) {
    if (out.shares[i] == next && static_cast<int32_t>(i) != prediction.top) out.second = static_cast<int32_t>(i);
  }
  out.margin = first - next;
  return out;
}

bool usable(const storage::Prediction& p) {
  return p.label < 0 && !p.series.empty() && p.scores.size() > 1 && std::all_of(p.scores.begin(), p.scores.end(), [](float s) { return std::isfinite(s); });
}

double distance(const Candidate& a, const Candidate& b) {
  if (a.shares.size() != b.shares.size()) return 2;
  double sum = 0;
  for (size_t i = 0; i < a.shares.size(); ++i) sum += std::abs(a.shares[i] - b.shares[i]);
  return sum;
}

}  // namespace

std::vector<Proposal> choose_next(const std::vector<storage::Prediction>& predictions, size_t count_max) {
  std::vector<Candidate> candidates;
  for (const storage::Prediction& prediction : predictions) {
    if (usable(prediction)) candidates.push_back(look_at(prediction));
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.margin != b.margin ? a.margin < b.margin : a.prediction->id < b.prediction->id;
  });
  if (candidates.size() / kConsidered > count_max) candidates.resize(count_max * kConsidered);

  std::vector<Proposal> out;
  while (out.size() < count_max) {
    Candidate* best = nullptr;
    auto worth = [](const Candidate& c) { return (1 - c.margin) * (0.1 + c.apart); };
    for (Candidate& c : candidates) {
      if (!c.covered && (best == nullptr || worth(c) > worth(*best))) best = &c;
    }
    if (best == nullptr) break;
    out.push_back({*best->prediction, best->margin, best->second});
    const Candidate chosen = *best;
    for (Candidate& c : candidates) {
      c.apart = std::min(c.apart, distance(c, chosen));
      const storage::TimeRange &a = c.prediction->window, &b = chosen.prediction->window;
      if (c.prediction->series == chosen.prediction->series && a.from_ns < b.to_ns && b.from_ns < a.to_ns) c.covered = true;
    }
  }
  return out;
}

}  // namespace skerry::learning
