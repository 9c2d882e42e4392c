#include <algorithm>

#include "tests/bench/learning.h"
#include "tests/bench/learning_node.h"
#include "tests/bench/learning_people.h"

namespace skerry::bench {
namespace {

constexpr Drift kOtherPocket{20, 1.1};

struct Judged {
  std::string person;
  learning::ExampleSet windows;
};

Result<double> mean_accuracy(LearningNode& node, const std::vector<Judged>& seen, std::optional<uint32_t> version) {
  double sum = 0;
  for (const Judged& one : seen) {
    SKERRY_ASSIGN(const double accuracy, node.accuracy(one.windows, version));
    sum += accuracy;
  }
  return seen.empty() ? 0 : sum / static_cast<double>(seen.size());
}

}  // namespace

Result<std::vector<Figure>> learning_year(Size size, const Places& places) {
  std::vector<Figure> figures = {{"learning.year_final_accuracy", 0, "%", 98.5, Better::higher},
                                 {"learning.year_worst_fall", 0, "points", 1, Better::lower}};
  auto people = People::open(size, places, BaseOf::six);
  if (!people.ok() && people.error().code == Code::not_found) {
    for (Figure& figure : figures) figure.skipped = people.error().message;
    return figures;
  }
  if (!people.ok()) return people.error();
  SKERRY_ASSIGN(auto node, LearningNode::open(people->base(), places.work / "year"));

  std::vector<Judged> seen;
  double worst = 0, final = 0, frozen = 0;
  const size_t rounds = size == Size::full ? 12 : 2;
  for (size_t round = 0; round < rounds; ++round) {
    const std::string& person = kUnseenPeople[round % kUnseenPeople.size()];
    const bool again = round >= kUnseenPeople.size();
    const Drift drift = again ? kOtherPocket : Drift{};
    SKERRY_ASSIGN(learning::ExampleSet windows, people->short_windows(person, drift));
    std::erase_if(seen, [&](const Judged& one) { return one.person == person; });  // as this person is now
    seen.push_back({person, std::move(windows)});
    for (const e2e::Piece& piece : people->long_trials(person, node->now_ns(), again, 2, drift)) {
      SKERRY_TRY(node->ingest(piece));
      SKERRY_TRY(node->label(piece));
    }
    const uint32_t parent = node->serving();
    SKERRY_ASSIGN(const std::string decided, node->learn());
    SKERRY_ASSIGN(const double before, mean_accuracy(*node, seen, parent));
    SKERRY_ASSIGN(final, mean_accuracy(*node, seen, std::nullopt));
    SKERRY_ASSIGN(frozen, mean_accuracy(*node, seen, 1));
    worst = std::max(worst, before - final);
    note(fmt::format("round {}, person {}{}: {:.2f} -> {:.2f} % over {} people seen (base {:.2f}); {}", round + 1, person, again ? " turned" : "", before,
                     final, seen.size(), frozen, decided));
  }
  figures[0].value = final;
  figures[0].peer = Peer{"frozen", final / frozen};
  figures[1].value = worst;
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
