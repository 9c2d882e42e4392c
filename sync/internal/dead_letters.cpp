#include "sync/internal/dead_letters.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "storage/sample_block.h"

namespace skerry::sync::internal {
namespace {

using nlohmann::json;
constexpr const char* kIndexNote = "sync/dead";
constexpr size_t kLettersMax = 1000, kPayloadBytesMax = 1 << 20, kTextBytesMax = 512;

std::string payload_note(const DeadLetter& letter) { return fmt::format("sync/dead/{}/{}", storage::to_string(letter.outbox_class), letter.seq); }

}  // namespace

DeadLetters::DeadLetters(storage::Store& store) : store_(store) {
  auto note = store.note(kIndexNote);
  if (!note.ok() || !note->has_value()) return;
  try {
    for (const json& l : json::parse(**note)) {
      all_.push_back({static_cast<storage::OutboxClass>(l.at(0).get<int>()), l.at(1).get<uint64_t>(), l.at(2).get<std::string>(), l.at(3).get<std::string>(),
                      l.at(4).get<uint64_t>(), l.at(5).get<uint64_t>()});
    }
  } catch (const std::exception& e) {
    log::error("sync", "the index of dead letters is damaged; what the hub refuses is found anew: {}", e.what());
    all_.clear();
  }
}

Status DeadLetters::put(storage::OutboxClass outbox_class, const storage::OutboxItem& item, const std::string& reason) {
  if (all_.size() >= kLettersMax) return fail(Code::exhausted, "{} entries were refused by the hub already: look at them (GET /v1/sync) before more are left out", all_.size());
  DeadLetter letter{outbox_class, item.seq, item.subject.substr(0, kTextBytesMax), reason.substr(0, kTextBytesMax), item.payload.size(), item.records};
  std::vector<DeadLetter> with = all_;
  with.push_back(letter);
  json index = json::array();
  for (const DeadLetter& l : with) index.push_back({static_cast<int>(l.outbox_class), l.seq, l.subject, l.reason, l.bytes, l.records});
  storage::Effect effect;
  effect.notes.emplace_back(kIndexNote, index.dump(-1, ' ', false, json::error_handler_t::replace));
  if (!item.payload.empty() && item.payload.size() <= kPayloadBytesMax) effect.notes.emplace_back(payload_note(letter), item.payload);
  SKERRY_TRY(store_.commit(effect));
  all_ = std::move(with);
  return {};
}

void DeadLetters::leave_out(storage::OutboxClass outbox_class, std::vector<storage::OutboxItem>& items) const {
  for (storage::OutboxItem& item : items) {
    const bool dead = std::any_of(all_.begin(), all_.end(), [&](const DeadLetter& l) { return l.outbox_class == outbox_class && l.seq == item.seq; });
    if (!dead || item.kind == storage::EntryKind::lost) continue;
    item = {.seq = item.seq, .kind = storage::EntryKind::samples, .subject = "dead", .payload = storage::encode_block({}), .records = 0, .queued_ns = item.queued_ns};
  }
}

}  // namespace skerry::sync::internal
