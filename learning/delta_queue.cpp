#include "learning/delta_queue.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/log.h"
#include "learning/delta.h"

namespace skerry::learning {
namespace {

constexpr size_t kKnownMax = 64;    // versions of the hub that are remembered; a node goes back one
constexpr size_t kChainMax = 1000;  // promotions while one delta was under way

std::string delta_note(const std::string& model, uint32_t version) { return fmt::format("delta/{}/{}", model, version); }
std::string residual_note(const std::string& model, uint32_t version) { return fmt::format("residual/{}/{}", model, version); }
std::string index_note(const std::string& model) { return "deltas/" + model; }

}  // namespace

struct DeltaQueue::Index {
  std::vector<uint32_t> known;  // versions that queued deltas lead to
  std::vector<uint32_t> kept;   // versions that have notes
  uint64_t seq = 0;             // of the last one queued, in the outbox class of models

  bool knows(uint32_t version) const { return std::find(known.begin(), known.end(), version) != known.end(); }
  std::string text() const { return nlohmann::json{{"known", known}, {"kept", kept}, {"seq", seq}}.dump(); }
};

Result<DeltaQueue::Index> DeltaQueue::read_index(const std::string& model) const {
  SKERRY_ASSIGN(const std::optional<std::string> note, store_.note(index_note(model)));
  Index index;
  if (!note) return index;
  try {
    const nlohmann::json json = nlohmann::json::parse(*note);
    index.known = json.at("known").get<std::vector<uint32_t>>();
    index.kept = json.at("kept").get<std::vector<uint32_t>>();
    index.seq = json.at("seq");
  } catch (const nlohmann::json::exception& error) {
    log::error("learning", "the index of the deltas of {} can't be read, it begins anew: {}", model, error.what());
    return Index{};
  }
  return index;
}

void DeltaQueue::keep(storage::Effect& effect, const std::string& model, uint32_t version, const std::string& delta, const std::string& residual) const {
  Index index = read_index(model).value_or(Index{});
  index.kept.push_back(version);
  effect.notes.emplace_back(delta_note(model, version), delta);
  effect.notes.emplace_back(residual_note(model, version), residual);
  effect.notes.emplace_back(index_note(model), index.text());
}

void DeltaQueue::forget(storage::Effect& effect, const std::string& model, uint32_t version) const {
  Index index = read_index(model).value_or(Index{});
  std::erase(index.kept, version);
  effect.notes.emplace_back(delta_note(model, version), "");
  effect.notes.emplace_back(residual_note(model, version), "");
  effect.notes.emplace_back(index_note(model), index.text());
}

Result<std::string> DeltaQueue::residual(const std::string& model, uint32_t version) const {
  SKERRY_ASSIGN(std::optional<std::string> note, store_.note(residual_note(model, version)));
  return note.value_or("");
}

// True when something was added.
Result<bool> DeltaQueue::add_chain(storage::Effect& effect, const std::string& model, uint32_t version) const {
  SKERRY_ASSIGN(Index index, read_index(model));
  uint64_t last = 0, acked = 0;
  for (const storage::OutboxStatus& status : store_.outbox_status()) {
    if (status.outbox_class != storage::OutboxClass::model) continue;
    last = status.last_seq;
    acked = status.acked_seq;
  }
  if (index.seq > acked && index.seq <= last) return false;
  std::vector<Delta> chain;  // the newest first
  std::set<uint32_t> needed{version};
  for (uint32_t at = version; !index.knows(at) && chain.size() < kChainMax; needed.insert(at)) {
    SKERRY_ASSIGN(const std::optional<std::string> bytes, store_.note(delta_note(model, at)));
    if (!bytes || bytes->empty()) break;
    Result<Delta> delta = decode_delta(*bytes);
    if (!delta.ok()) {
      log::error("learning", "the delta of {}/{} can't be sent: {}", model, at, delta.error().message);
      return false;
    }
    at = delta->base_version;
    chain.push_back(std::move(*delta));
  }
  if (chain.empty()) return false;
  Delta whole = std::move(chain.back());
  for (size_t i = chain.size() - 1; i-- > 0;) {
    SKERRY_ASSIGN(whole, squash(std::move(whole), chain[i]));
  }

  storage::OutboxEntry entry;
  entry.outbox_class = storage::OutboxClass::model;
  entry.kind = storage::EntryKind::model_delta;
  entry.subject = fmt::format("{}/{}", model, version);
  entry.payload = encode_delta(whole);
  effect.outbox.push_back(std::move(entry));

  index.seq = last + 1;
  index.known.push_back(version);
  if (index.known.size() > kKnownMax) index.known.erase(index.known.begin());
  // A node goes back to the version before at most: what neither is that nor leads to it is not asked for again.
  std::erase_if(index.kept, [&](uint32_t kept) {
    if (needed.count(kept) > 0 || kept > version) return false;
    effect.notes.emplace_back(delta_note(model, kept), "");
    effect.notes.emplace_back(residual_note(model, kept), "");
    return true;
  });
  effect.notes.emplace_back(index_note(model), index.text());
  return true;
}

Status DeltaQueue::queue(storage::Effect& effect, const std::string& model, uint32_t version) const {
  SKERRY_ASSIGN(std::string left, residual(model, version));
  if (!left.empty()) effect.notes.emplace_back(residual_note(model, version), std::move(left));
  SKERRY_TRY(add_chain(effect, model, version));
  return {};
}

Status DeltaQueue::step(const std::string& model, uint32_t serving) const {
  storage::Effect effect;
  SKERRY_ASSIGN(const bool more, add_chain(effect, model, serving));
  if (more) SKERRY_TRY(store_.commit(effect));
  return {};
}

}  // namespace skerry::learning
