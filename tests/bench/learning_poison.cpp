#include <algorithm>

#include "base/random.h"
#include "tests/bench/learning.h"
#include "tests/bench/learning_node.h"
#include "tests/bench/learning_people.h"

namespace skerry::bench {
namespace {

// Who labels: nobody errs, single windows are mistaken, whole stretches are, or one class is always called by the name of another.
enum class Mistakes { windows, stretches, confused };
const char* to_string(Mistakes mistakes) {
  return mistakes == Mistakes::windows ? "windows" : mistakes == Mistakes::stretches ? "stretches" : "confused";
}

class Labeller {
 public:
  Labeller(const std::vector<std::string>& labels, Mistakes mistakes, double share, uint64_t seed)
      : labels_(labels), mistakes_(mistakes), share_(share), random_(seed) {}
  Status label(LearningNode& node, const e2e::Piece& piece) {
    if (mistakes_ == Mistakes::stretches) {
      const std::string said = random_.uniform() < share_ ? other(piece.label) : piece.label;
      return node.label_each(piece, [&](const std::string&) { return said; });
    }
    return node.label_each(piece, [&](const std::string& truth) {
      if (random_.uniform() >= share_) return truth;
      return mistakes_ == Mistakes::windows ? other(truth) : next(truth);
    });
  }

 private:
  std::string next(const std::string& truth) const {
    const auto at = std::find(labels_.begin(), labels_.end(), truth) - labels_.begin();
    return labels_[(static_cast<size_t>(at) + 1) % labels_.size()];
  }
  std::string other(const std::string& truth) {
    const std::string& drawn = labels_[random_.below(labels_.size() - 1)];
    return drawn == truth ? labels_.back() : drawn;
  }

  const std::vector<std::string> labels_;
  const Mistakes mistakes_;
  const double share_;
  Random random_;
};

struct Round {
  std::string person;
  Mistakes mistakes = Mistakes::windows;
  double share = 0;
  bool after_honest = false;  // its parent has learned from this person honestly
};

struct Tally {
  uint32_t rounds = 0, promoted = 0, worse = 0, honest = 0, honest_promoted = 0, probations = 0, proven = 0;
  double honest_gain = 0;
};

// Error: of the node.
Status play(const People& people, const Round& round, const std::filesystem::path& folder, Tally& tally) {
  SKERRY_ASSIGN(auto node, LearningNode::open(people.base(), folder));
  SKERRY_ASSIGN(const learning::ExampleSet clean, people.all_windows(round.person));
  if (round.after_honest) {
    for (const e2e::Piece& piece : people.long_trials(round.person, node->now_ns(), 0, 2)) {
      SKERRY_TRY(node->ingest(piece));
      SKERRY_TRY(node->label(piece));
    }
    SKERRY_TRY(node->learn());
  }
  Labeller labeller(people.base().info.labels, round.mistakes, round.share, 1000 * std::stoul(round.person) + static_cast<uint64_t>(100 * round.share));
  for (const e2e::Piece& piece : people.long_trials(round.person, node->now_ns(), round.after_honest, round.after_honest ? 2 : 1)) {
    SKERRY_TRY(node->ingest(piece));
    SKERRY_TRY(labeller.label(*node, piece));
  }
  const uint32_t parent = node->serving();
  SKERRY_ASSIGN(const std::string decided, node->learn());
  // On probation: the same labeller goes on, about what nobody has trained on.
  const std::vector<learning::TrialStatus> trials = node->node().learner().status().trials;
  std::string probation;
  if (!trials.empty()) {
    for (const e2e::Piece& piece : people.short_trials(round.person, node->now_ns())) {
      SKERRY_TRY(node->ingest(piece));
      SKERRY_TRY(labeller.label(*node, piece));
    }
    for (int i = 0; i < 2; ++i) node->step_learning();
    const std::vector<learning::TrialStatus> now = node->node().learner().status().trials;
    probation = !now.empty() ? now[0].why : node->serving() != parent ? "proven by more labels" : "refused on more labels";
    ++tally.probations;
    tally.proven += node->serving() != parent;
  }
  const bool promoted = node->serving() != parent;
  SKERRY_ASSIGN(const double before, node->accuracy(clean, parent));
  SKERRY_ASSIGN(const double after, node->accuracy(clean));
  if (round.share == 0) {
    ++tally.honest;
    tally.honest_promoted += promoted;
    tally.honest_gain += after - before;
  } else {
    ++tally.rounds;
    tally.promoted += promoted;
  }
  tally.worse += promoted && after < before;
  note(fmt::format("person {}, {:.0f} % of {} wrong{}: {:.2f} -> {:.2f} %{}; {}", round.person, 100 * round.share, to_string(round.mistakes),
                   round.after_honest ? " after an honest round" : "", before, after, promoted && after < before ? " WORSE" : "", decided));
  if (!probation.empty()) note("  " + probation);
  return {};
}

}  // namespace

Result<std::vector<Figure>> learning_poison(Size size, const Places& places) {
  std::vector<Figure> figures = {{"learning.poison_worse_promoted", 0, "versions", 0, Better::lower},
                                 {"learning.honest_promoted", 0, "rounds", 0, Better::higher}};
  auto people = People::open(size, places, BaseOf::six);
  if (!people.ok() && people.error().code == Code::not_found) {
    for (Figure& figure : figures) figure.skipped = people.error().message;
    return figures;
  }
  if (!people.ok()) return people.error();
  std::vector<Round> rounds;
  for (const std::string& person : kUnseenPeople) {
    rounds.push_back({person, Mistakes::windows, 0, false});
    for (const double share : {0.1, 0.3, 0.6}) {
      rounds.push_back({person, Mistakes::windows, share, false});
      rounds.push_back({person, Mistakes::windows, share, true});
      rounds.push_back({person, Mistakes::stretches, share, false});
      rounds.push_back({person, Mistakes::confused, share, false});
    }
  }
  if (size == Size::smoke) rounds.resize(2);
  Tally tally;
  for (size_t i = 0; i < rounds.size(); ++i) {
    const std::filesystem::path folder = places.work / fmt::format("poison-{}", i);
    SKERRY_TRY(play(*people, rounds[i], folder, tally));
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  note(fmt::format("{} of {} poisoned rounds promoted, {} of {} honest ones, which gained {:.2f} points on average", tally.promoted, tally.rounds,
                   tally.honest_promoted, tally.honest, tally.honest == 0 ? 0 : tally.honest_gain / tally.honest));
  note(fmt::format("{} were on probation, {} of them proven", tally.probations, tally.proven));
  figures[0].value = tally.worse;
  figures[1].value = tally.honest_promoted;
  figures[1].target = tally.honest;
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
