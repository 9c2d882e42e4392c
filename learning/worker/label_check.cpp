#include "learning/worker/label_check.h"

#include <algorithm>
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
  uint32_t stretch = 0, length = 0;
  for (size_t i = 0; i < set.windows.size(); ++i) {
    const bool ends = length == kStretchMax || (i > 0 && set.windows[i].label != set.windows[i - 1].label);
    if (ends) ++stretch;
    length = ends ? 1 : length + 1;
    out.push_back(stretch % std::max<uint32_t>(folds, 1));
  }
  return out;
}

std::string to_json(const LabelVerdicts& verdicts) {
  return nlohmann::ordered_json{{"train", text(verdicts.train)}, {"holdout", text(verdicts.holdout)}}.dump(2) + "\n";
}

Result<LabelVerdicts> read_verdicts(const std::filesystem::path& file, size_t train, size_t holdout) {
  SKERRY_ASSIGN(const std::string bytes, read_file(file, kBytesMax));
  const nlohmann::json json = nlohmann::json::parse(bytes, nullptr, false);
  if (!json.is_object()) return fail(Code::corrupt, "{} is no JSON object", file.string());
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
