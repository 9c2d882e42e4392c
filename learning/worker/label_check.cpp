#include "learning/worker/label_check.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace skerry::learning::worker {
namespace {

constexpr uint64_t kBytesMax = 64 << 20;
constexpr uint32_t kStretchMax = 8;

std::string text(const std::vector<Verdict>& verdicts) {
  std::string out;
  for (Verdict verdict : verdicts) out.push_back(static_cast<char>(verdict));
  return out;
}

Result<std::vector<Verdict>> verdicts_of(const nlohmann::json& json, const char* name, size_t count) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string() || found->get_ref<const std::string&>().size() != count) {
    return fail(Code::corrupt, "'{}' is not a verdict on each of {} windows", name, count);
  }
  std::vector<Verdict> out;
  for (char c : found->get_ref<const std::string&>()) {
    if (c != '.' && c != '?' && c != 'x') return fail(Code::corrupt, "'{}' has a verdict that is none", name);
    out.push_back(static_cast<Verdict>(c));
  }
  return out;
}

}  // namespace

Verdict judge_label(int32_t label, int32_t parent, int32_t others) {
  if (others == label) return Verdict::believed;
  return parent == others ? Verdict::doubted : Verdict::contradicted;
}

std::vector<uint32_t> folds_by_stretch(const ExampleSet& set, uint32_t folds) {
  std::vector<uint32_t> out;
  std::map<int32_t, uint32_t> stretches;  // of each label: they take turns, so that a label that comes every third time is in every fold
  uint32_t length = 0;
  for (size_t i = 0; i < set.windows.size(); ++i) {
    const int32_t label = set.windows[i].label;
    const bool begins = i == 0 || length == kStretchMax || label != set.windows[i - 1].label;
    uint32_t& count = stretches.try_emplace(label, 0).first->second;
    if (begins) ++count;
    length = begins ? 1 : length + 1;
    out.push_back((count - 1 + static_cast<uint32_t>(std::max(label, 0))) % std::max<uint32_t>(folds, 1));
  }
  return out;
}

std::string to_json(const LabelVerdicts& verdicts) {
  return nlohmann::ordered_json{{"train", text(verdicts.train)}, {"holdout", text(verdicts.holdout)}}.dump(2) + "\n";
}

Result<LabelVerdicts> read_verdicts(const std::filesystem::path& file, size_t train, size_t holdout) {
  SKERRY_ASSIGN(const std::string bytes, read_file(file, kBytesMax));
  Result<LabelVerdicts> verdicts = parse_verdicts(bytes, train, holdout);
  if (!verdicts.ok()) return fail(verdicts.error().code, "{}: {}", file.string(), verdicts.error().message);
  return verdicts;
}

Result<LabelVerdicts> parse_verdicts(const std::string& text, size_t train, size_t holdout) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(Code::corrupt, "it is no JSON object");
  LabelVerdicts out;
  SKERRY_ASSIGN(out.train, verdicts_of(json, "train", train));
  SKERRY_ASSIGN(out.holdout, verdicts_of(json, "holdout", holdout));
  return out;
}

LabelCounts count(const LabelVerdicts& verdicts) {
  LabelCounts out;
  for (const auto* list : {&verdicts.train, &verdicts.holdout}) {
    out.labels += static_cast<uint32_t>(list->size());
    for (Verdict verdict : *list) {
      out.contradicted += verdict != Verdict::believed;
      out.doubted += verdict == Verdict::doubted;
    }
  }
  return out;
}

ExampleSet without_doubted(const ExampleSet& set, const std::vector<Verdict>& verdicts) {
  ExampleSet out{set.channels, set.rows, {}};
  for (size_t i = 0; i < set.windows.size(); ++i) {
    if (verdicts.at(i) != Verdict::doubted) out.windows.push_back(set.windows[i]);
  }
  return out;
}

}  // namespace skerry::learning::worker
