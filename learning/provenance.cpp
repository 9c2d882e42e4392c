#include "learning/provenance.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"

namespace skerry::learning {
namespace {

std::string note_name(const std::string& model, uint32_t version) { return fmt::format("learner/{}/used/{}", model, version); }

}  // namespace

std::string encode_ids(std::vector<uint64_t> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::string out;
  uint64_t before = 0;
  for (uint64_t id : ids) {
    uint64_t gap = id - before;
    before = id;
    for (; gap >= 0x80; gap >>= 7) out.push_back(static_cast<char>(gap | 0x80));
    out.push_back(static_cast<char>(gap));
  }
  return out;
}

Result<std::vector<uint64_t>> decode_ids(std::string_view bytes) {
  std::vector<uint64_t> out;
  uint64_t before = 0, gap = 0;
  int shift = 0;
  for (char c : bytes) {
    if (shift > 63 || (shift == 63 && (c & 0x7e) != 0)) return fail(Code::corrupt, "a number of more than 64 bits");
    gap |= static_cast<uint64_t>(c & 0x7f) << shift;
    shift += 7;
    if ((c & 0x80) != 0) continue;
    if (gap > UINT64_MAX - before) return fail(Code::corrupt, "numbers that do not ascend");
    out.push_back(before += gap);
    gap = 0;
    shift = 0;
  }
  if (shift != 0) return fail(Code::corrupt, "it ends within a number");
  return out;
}

void keep_provenance(storage::Effect& effect, const std::string& model, uint32_t version, std::vector<uint64_t> predictions) {
  effect.notes.emplace_back(note_name(model, version), encode_ids(std::move(predictions)));
  if (version > kProvenanceKept) effect.notes.emplace_back(note_name(model, version - kProvenanceKept), "");
}

Result<std::vector<uint64_t>> used_by(const storage::Store& store, const std::string& model, uint32_t version) {
  SKERRY_ASSIGN(const std::optional<std::string> note, store.note(note_name(model, version)));
  if (!note) return std::vector<uint64_t>{};
  return decode_ids(*note);
}

Result<std::vector<storage::ModelVersion>> versions_that_used(const storage::Store& store, const std::string& model, std::vector<uint64_t> predictions) {
  std::sort(predictions.begin(), predictions.end());
  std::vector<storage::ModelVersion> out;
  SKERRY_ASSIGN(std::vector<storage::ModelVersion> versions, store.versions(model));
  for (storage::ModelVersion& version : versions) {
    if (version.state == storage::ModelState::rejected) continue;
    const Result<std::vector<uint64_t>> used = used_by(store, model, version.version);
    if (!used.ok() && used.error().code != Code::corrupt) return used.error();
    if (!used.ok()) {
      log::warn("learning", "which labels {}/{} was made with can't be read: {}", model, version.version, used.error().message);
      continue;
    }
    const bool any = std::any_of(predictions.begin(), predictions.end(), [&](uint64_t id) { return std::binary_search(used->begin(), used->end(), id); });
    if (any) out.push_back(std::move(version));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.version < b.version; });
  return out;
}

}  // namespace skerry::learning
