#include "hub/bundles.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/log.h"
#include "hub/internal/model_files.h"
#include "sync/bundle.h"

namespace skerry::hub {
namespace {

using storage::OutboxClass;
using storage::OutboxItem;
using sync::BatchOutcome;
using sync::BatchReply;
using sync::ClassReceipt;

constexpr uint64_t kManifestBytesMax = 1 << 20;  // of a package

class Taking {
 public:
  Taking(Receiver& receiver, const sync::OutboxBundle& bundle) : receiver_(receiver), bundle_(bundle) {}

  Status take(const sync::Batch& batch) {
    ClassReceipt& c = classes_.try_emplace(batch.outbox_class, ClassReceipt{.outbox_class = batch.outbox_class}).first->second;
    if (!c.problem.empty()) return {};  // nothing goes behind a gap
    SKERRY_ASSIGN(const auto found, held_alike(batch));
    const size_t same = found.alike;
    if (same < batch.entries.size()) {
      if (same > 0) verified(c, batch.entries[same - 1]);
      c.other_history = true;
      c.watermark = std::max(c.watermark, batch.entries[same].seq);
      c.problem = fmt::format("{} is another entry at the hub: an old disk image was restored, or another device has this node's name", batch.entries[same].seq);
      return {};
    }
    SKERRY_ASSIGN(const BatchReply reply, apply(batch));
    c.watermark = std::max(c.watermark, reply.watermark);
    switch (reply.outcome) {
      case BatchOutcome::applied:
      case BatchOutcome::duplicate: verified(c, batch.entries.back()); break;
      case BatchOutcome::gap:
        c.problem = fmt::format("the hub holds it up to {}, the bundle begins at {}: bring the bundle before it, or export with --again", reply.watermark,
                                batch.entries.front().seq);
        break;
      case BatchOutcome::unknown_epoch:  // the node ended it: what the hub holds of it counts, the rest goes under another
        c.other_history = true;
        if (found.held > 0) verified(c, batch.entries[found.held - 1]);
        if (found.held < batch.entries.size()) c.problem = "the epoch of this bundle has ended: import the receipt and export again";
        break;
      case BatchOutcome::refused: c.problem = reply.message.empty() ? "the hub refuses it" : reply.message; break;
    }
    return {};
  }

  std::vector<ClassReceipt> classes() const {
    std::vector<ClassReceipt> all;
    for (const auto& [name, c] : classes_) all.push_back(c);
    return all;
  }

 private:
  static void verified(ClassReceipt& c, const OutboxItem& item) {
    c.verified = item.end_seq();
    c.watermark = std::max(c.watermark, c.verified);
    c.entry = item.kind == storage::EntryKind::lost ? 0 : sync::digest_after(sync::kFirstChain, item);
  }

  struct Found {
    size_t alike = 0;   // of the first entries: the hub's own, or not there yet
    size_t held = 0;    // there
  };

  Result<sync::RangeReply> ask(const sync::Batch& batch, uint64_t first, uint64_t last) {
    return receiver_.range({.node = batch.node, .epoch = batch.epoch, .outbox_class = batch.outbox_class, .first_seq = first, .last_seq = last});
  }

  Result<Found> held_alike(const sync::Batch& batch) {
    const auto& entries = batch.entries;
    auto held = ask(batch, entries.front().seq, entries.back().seq);
    if (!held.ok() && held.error().code == Code::not_found) return Found{entries.size(), 0};
    if (!held.ok()) return held.error();
    const Found all{entries.size(), std::min<size_t>(held->count, entries.size())};
    uint64_t digest = sync::kFirstChain;
    for (size_t i = 0; i < all.held; ++i) digest = sync::digest_after(digest, entries[i]);
    if (all.held == 0 || digest == held->digest) return all;
    for (size_t i = 0; i < entries.size(); ++i) {  // what was lost by rule on one side only is no other history
      const OutboxItem& item = entries[i];
      if (item.kind == storage::EntryKind::lost || item.records == 0) continue;
      SKERRY_ASSIGN(const auto one, ask(batch, item.seq, item.seq));
      if (one.count > 0 && one.digest != sync::digest_after(sync::kFirstChain, item)) return Found{i, i};
    }
    return all;
  }

  // A HELLO only where it is needed: an old bundle must not tell the hub old news of its node.
  Result<BatchReply> apply(const sync::Batch& batch) {
    SKERRY_ASSIGN(BatchReply reply, receiver_.apply(batch));
    if (greeted_ || (reply.outcome != BatchOutcome::gap && reply.outcome != BatchOutcome::unknown_epoch)) return reply;
    greeted_ = true;
    SKERRY_TRY(receiver_.hello(bundle_.hello));
    return receiver_.apply(batch);
  }

  Receiver& receiver_;
  const sync::OutboxBundle& bundle_;
  std::map<OutboxClass, ClassReceipt> classes_;
  bool greeted_ = false;
};

// The newest version of each model.
Result<std::vector<sync::ModelOffer>> offers(const std::filesystem::path& folder) {
  SKERRY_ASSIGN(const auto packages, internal::list_packages(folder));
  std::vector<sync::ModelOffer> all;
  for (size_t i = 0; i < packages.size() && all.size() < sync::kBundleOffersMax; ++i) {
    const auto& p = packages[i];
    if (i + 1 < packages.size() && packages[i + 1].model == p.model) continue;
    auto digest = sha256_file(folder / p.model / std::to_string(p.version) / "manifest", kManifestBytesMax);
    if (digest.ok()) all.push_back({p.model, p.version, *digest});
  }
  return all;
}

}  // namespace

Result<std::string> take_bundle(Receiver& receiver, const BundleOptions& options, const Clock& clock, std::string_view file) {
  if (options.key.empty() || options.trusted.empty()) {
    return fail(Code::invalid, "this hub takes no bundles: start it with --bundle-key FILE and --bundle-trusted FILE");
  }
  SKERRY_ASSIGN(const sync::SigningKey key, sync::SigningKey::read(options.key));
  SKERRY_ASSIGN(const sync::TrustedKeys trusted, sync::TrustedKeys::read(options.trusted));
  SKERRY_ASSIGN(const sync::OutboxBundle bundle, sync::unpack_outbox(file));
  const std::string& node = bundle.head.node;
  if (trusted.owner(bundle.head.signer, node) != node) {
    return fail(Code::invalid, "this hub does not trust the key that signed the bundle of {}: put the line '{} {}' into {} if it is that node's", node, node,
                bundle.head.signer, options.trusted.string());
  }
  Taking taking(receiver, bundle);
  for (const std::string& bytes : bundle.batches) {
    SKERRY_ASSIGN(const sync::Batch batch, sync::decode_batch(bytes));
    SKERRY_TRY(taking.take(batch));
  }
  sync::Receipt receipt{.head = {node, bundle.head.epoch, {}, {}, clock.now_ns()}, .hub = options.name, .bundle = bundle.head.id, .classes = taking.classes(), .models = {}};
  SKERRY_ASSIGN(receipt.models, offers(options.models));
  log::info("hub", "a bundle of {} was taken: {} entries, {} records", node, bundle.entries, bundle.records);
  return sync::pack(receipt, key);
}

}  // namespace skerry::hub
