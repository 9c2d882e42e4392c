#include "storage/recovery.h"

#include "base/log.h"
#include "storage/internal/coding.h"

namespace skerry::storage {
namespace {

constexpr const char* kNote = "recovery";

std::string encode(const Recovery& r) {
  internal::Writer out;
  out.signed64(r.at_ns);
  out.varint(r.damaged);
  out.text(r.why);
  out.text(r.kept.string());
  return out.take();
}

}  // namespace

Result<std::unique_ptr<Store>> open_recovered(const Options& options, const Clock& clock, const Progress& progress) {
  auto store = Store::open(options, clock);
  if (store.ok() || store.error().code != Code::corrupt) return store;
  Recovery recovery{.at_ns = clock.now_ns(), .why = store.error().message};
  log::error("storage", "{}; it is repaired now", recovery.why);
  FsckRequest request;
  request.repair = true;
  request.progress = progress;
  SKERRY_ASSIGN(const FsckReport report, fsck(options, request));
  recovery.damaged = report.damage_count;
  recovery.kept = report.quarantine;
  log::warn("storage", "the store is repaired: {} damaged things{}", recovery.damaged, recovery.kept.empty() ? "" : ", kept in " + recovery.kept.string());
  SKERRY_ASSIGN(store, Store::open(options, clock));
  Effect effect;
  effect.notes.emplace_back(kNote, encode(recovery));
  if (auto noted = (*store)->commit(effect); !noted.ok()) log::warn("storage", "the repair is not noted: {}", noted.error().message);
  return store;
}

std::optional<Recovery> last_recovery(const Store& store) {
  const auto note = store.note(kNote);
  if (!note.ok() || !*note) return std::nullopt;
  internal::Reader in(**note);
  Recovery out;
  out.at_ns = in.signed64();
  out.damaged = in.varint();
  out.why = in.text();
  out.kept = std::string(in.text());
  return in.done() ? std::optional(out) : std::nullopt;
}

}  // namespace skerry::storage
