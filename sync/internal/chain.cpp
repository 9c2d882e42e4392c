#include "sync/internal/chain.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"

namespace skerry::sync::internal {
namespace {

using nlohmann::json;
constexpr const char* kNote = "sync/chains";
constexpr uint64_t kPageBytes = 1 << 20;
constexpr int kPagesMax = 256;  // further back is not looked

// From `point` over `items` up to `seq`; nothing when a loss lies between.
template <typename Items>
std::optional<uint64_t> follow(uint64_t& at, uint64_t chain, const Items& items, uint64_t seq) {
  for (const storage::OutboxItem& item : items) {
    if (item.seq <= at) continue;
    if (item.seq > seq) break;
    if (item.kind == storage::EntryKind::lost || item.records == 0 || item.seq != at + 1) return {};  // lost, damaged
    chain = chain_after(chain, item);
    at = item.seq;
  }
  return chain;
}

}  // namespace

Chains::Chains(storage::Store& store) : store_(store) {
  for (storage::OutboxClass c : storage::kOutboxClasses) points_[c] = {0, kFirstChain};
  auto note = store.note(kNote);
  if (!note.ok() || !note->has_value()) {
    for (const auto& s : store.outbox_status()) {
      if (s.acked_seq > 0) points_[s.outbox_class] = {s.acked_seq, 0};
    }
    return;
  }
  try {
    const json in = json::parse(**note);
    const bool same = in.at("epoch").get<uint64_t>() == store.identity().epoch;
    for (const json& p : in.at("points")) {
      points_[static_cast<storage::OutboxClass>(p.at(0).get<int>())] = {p.at(1).get<uint64_t>(), same ? p.at(2).get<uint64_t>() : 0};
    }
  } catch (const std::exception& e) {
    log::warn("sync", "the note of chains is damaged and left out: {}", e.what());
    for (auto& [c, point] : points_) point.chain = 0;
  }
}

Histories Chains::compare(storage::OutboxClass outbox_class, uint64_t seq, const Chain& hub, const Batch& sent) {
  const uint64_t hub_chain = hub.seq == seq ? hub.value : 0;
  const std::optional<uint64_t> mine = hub_chain == 0 ? std::nullopt : own(outbox_class, seq, sent);
  if (mine && *mine != hub_chain) return Histories::other;
  Point& point = points_[outbox_class];
  changed_ = changed_ || point.seq != seq || point.chain != hub_chain;
  point = {seq, hub_chain};
  return mine ? Histories::same : Histories::unknown;
}

std::optional<uint64_t> Chains::own(storage::OutboxClass outbox_class, uint64_t seq, const Batch& sent) {
  const Point& point = points_[outbox_class];
  if (point.chain == 0 || point.seq > seq) return {};
  uint64_t at = point.seq;
  std::optional<uint64_t> chain = point.chain;
  if (!sent.entries.empty() && sent.entries.front().seq <= at + 1) chain = follow(at, *chain, sent.entries, seq);
  for (int page = 0; chain && at < seq; ++page) {
    if (page == kPagesMax) return {};
    auto items = store_.outbox_read(outbox_class, at + 1, kPageBytes);
    if (!items.ok() || items->empty()) return {};
    chain = follow(at, *chain, *items, seq);
  }
  return chain;
}

void Chains::begin_at(storage::OutboxClass outbox_class, uint64_t seq, const Chain& hub) {
  points_[outbox_class] = {seq, hub.seq == seq ? hub.value : 0};
  changed_ = true;
  keep();
}

void Chains::forget() {
  for (auto& [c, point] : points_) point.chain = 0;
  changed_ = true;
  keep();
}

std::pair<std::string, std::string> Chains::note() {
  if (!std::exchange(changed_, false)) return {};
  std::string points;
  for (const auto& [c, point] : points_) {
    fmt::format_to(std::back_inserter(points), "{}[{},{},{}]", points.empty() ? "" : ",", static_cast<int>(c), point.seq, point.chain);
  }
  return {kNote, fmt::format(R"({{"epoch":{},"points":[{}]}})", store_.identity().epoch, points)};
}

// Lost in a crash it is only not known: not worth a sync.
void Chains::keep() {
  storage::Effect effect;
  if (auto changed = note(); !changed.first.empty()) effect.notes.push_back(std::move(changed));
  if (effect.notes.empty()) return;
  effect.durability = storage::Durability::os;
  if (auto written = store_.commit(effect); !written.ok()) log::debug("sync", "the note of chains was not written: {}", written.error().message);
}

}  // namespace skerry::sync::internal
