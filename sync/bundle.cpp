#include "sync/bundle.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "sync/internal/dead_letters.h"
#include "sync/internal/epoch_floors.h"
#include "sync/internal/fence.h"

namespace skerry::sync {
namespace {

using nlohmann::json;
using storage::OutboxClass;
using storage::OutboxItem;

constexpr std::string_view kMagic = "SKRYBNDL";
constexpr size_t kHeadBytes = 12;                                       // magic and size
constexpr uint64_t kManifestBytesMax = 1 << 20;
constexpr uint64_t kReadBytes = 1 << 20;                                // of one batch, before compression
constexpr uint64_t kPayloadBytesMax = kMessageBytesMax - (1 << 20);     // as over HTTP: leaves room for the entries' own fields
constexpr size_t kTextBytesMax = 512;
constexpr const char* kSoftware = "skerry 0.1.0";

Result<OutboxClass> class_of(const std::string& name) {
  for (OutboxClass c : storage::kOutboxClasses) {
    if (name == storage::to_string(c)) return c;
  }
  return fail(Code::invalid, "class '{}' is unknown", name.substr(0, 32));
}

std::string text_of(const json& object, const char* name, size_t bytes_max = kTextBytesMax) {
  std::string text = object.at(name).get<std::string>();
  if (text.size() > bytes_max) throw std::runtime_error(std::string(name) + " is too long");
  return text;
}

uint64_t number_of(const json& object, const char* name) {
  if (!object.at(name).is_number_unsigned()) throw std::runtime_error(std::string(name) + " is no number");
  return object.at(name).get<uint64_t>();
}

struct Parts {
  json manifest;
  std::string id;
  std::string_view signed_bytes, signature, messages;
};

// Looks at nothing before its size is known.
Result<Parts> split(std::string_view file) {
  const Error cut = fail(Code::corrupt, "the bundle is cut short: copy it again from where it was made");
  if (file.size() > kBundleBytesMax) return fail(Code::invalid, "the bundle has {} bytes: at most {} are taken", file.size(), kBundleBytesMax);
  if (file.substr(0, kMagic.size()) != kMagic) return fail(Code::corrupt, "this is no bundle of skerry");
  if (file.size() < kHeadBytes) return cut;
  uint64_t size = 0;
  for (size_t i = 0; i < 4; ++i) size |= static_cast<uint64_t>(static_cast<unsigned char>(file[kMagic.size() + i])) << (8 * i);
  if (size > kManifestBytesMax) return fail(Code::corrupt, "the bundle's manifest claims {} bytes", size);
  if (file.size() < kHeadBytes + size + kSignatureBytes) return cut;
  Parts parts{.manifest = {}, .id = {}, .signed_bytes = file.substr(0, kHeadBytes + size), .signature = file.substr(kHeadBytes + size, kSignatureBytes),
              .messages = file.substr(kHeadBytes + size + kSignatureBytes)};
  const std::string_view manifest = file.substr(kHeadBytes, size);
  parts.manifest = json::parse(manifest, nullptr, false);
  if (!parts.manifest.is_object()) return fail(Code::corrupt, "the bundle's manifest is damaged");
  parts.id = sha256_hex(manifest);
  return parts;
}

BundleHead head_of(const Parts& parts, const char* kind) {
  const json& m = parts.manifest;
  if (number_of(m, "format") != 1) throw std::runtime_error("its format is of a later version of skerry: update this one");
  if (text_of(m, "kind") != kind) throw std::runtime_error(fmt::format("it is of kind '{}', not '{}'", text_of(m, "kind"), kind));
  BundleHead head{text_of(m, "node"), number_of(m, "epoch"), text_of(m, "signer"), parts.id, m.at("made_ns").get<int64_t>()};
  if (!valid_node_name(head.node) || !valid_public_key(head.signer)) throw std::runtime_error("its node or signer is no such thing");
  return head;
}

Status check_signature(const Parts& parts, const BundleHead& head) {
  if (signature_holds(head.signer, parts.signed_bytes, parts.signature)) return {};
  return fail(Code::corrupt, "the bundle's signature does not hold: it was changed or damaged since it was made");
}

json head_json(const BundleHead& head, const char* kind, const SigningKey& key) {
  return {{"format", 1}, {"kind", kind}, {"node", head.node}, {"epoch", head.epoch}, {"made_ns", head.made_ns}, {"signer", key.public_key()}};
}

Result<std::string> seal(const json& manifest, const std::string& messages, const SigningKey& key) {
  const std::string text = manifest.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kManifestBytesMax) return fail(Code::invalid, "the bundle's manifest has {} bytes: take less into one bundle", text.size());
  std::string file(kMagic);
  for (size_t i = 0; i < 4; ++i) file += static_cast<char>(text.size() >> (8 * i) & 0xff);
  file += text;
  SKERRY_ASSIGN(const std::string signature, key.sign(file));
  file += signature;
  file += messages;
  if (file.size() > kBundleBytesMax) return fail(Code::invalid, "the bundle has {} bytes: at most {} are taken", file.size(), kBundleBytesMax);
  return file;
}

json message_json(const std::string& bytes) { return {{"bytes", bytes.size()}, {"sha256", sha256_hex(bytes)}}; }

Result<std::vector<std::string>> messages_of(const Parts& parts) {
  const json& list = parts.manifest.at("messages");
  if (!list.is_array() || list.empty() || list.size() > kBundleMessagesMax) throw std::runtime_error("it lists no messages, or too many");
  std::vector<std::string> messages;
  std::string_view rest = parts.messages;
  for (const json& m : list) {
    const uint64_t bytes = number_of(m, "bytes");
    if (bytes > rest.size()) return fail(Code::corrupt, "the bundle is cut short: copy it again from where it was made");
    messages.emplace_back(rest.substr(0, bytes));
    rest.remove_prefix(bytes);
    if (sha256_hex(messages.back()) != text_of(m, "sha256")) return fail(Code::corrupt, "message {} of the bundle is damaged", messages.size());
  }
  if (!rest.empty()) return fail(Code::corrupt, "the bundle has {} bytes behind its end", rest.size());
  return messages;
}

void count(OutboxBundle& bundle, const Batch& batch) {
  bundle.last[batch.outbox_class] = batch.entries.back().end_seq();
  bundle.entries += batch.entries.size();
  for (const OutboxItem& item : batch.entries) bundle.records += item.kind == storage::EntryKind::lost ? 0 : item.records;
}

Result<OutboxBundle> open_outbox(const Parts& parts, bool check) {
  try {
    OutboxBundle bundle{.head = head_of(parts, "outbox"), .hello = {}, .batches = {}, .last = {}};
    if (check) SKERRY_TRY(check_signature(parts, bundle.head));
    SKERRY_ASSIGN(bundle.batches, messages_of(parts));
    SKERRY_ASSIGN(bundle.hello, decode_hello(bundle.batches.front()));
    bundle.batches.erase(bundle.batches.begin());
    auto own = [&](const std::string& node, uint64_t epoch) { return node == bundle.head.node && epoch == bundle.head.epoch; };
    if (!own(bundle.hello.node, bundle.hello.epoch)) return fail(Code::invalid, "the bundle's hello is of another node or epoch than the bundle");
    for (const std::string& bytes : bundle.batches) {
      SKERRY_ASSIGN(const Batch batch, decode_batch(bytes));
      auto before = bundle.last.find(batch.outbox_class);
      if (!own(batch.node, batch.epoch) || (before != bundle.last.end() && batch.entries.front().seq != before->second + 1)) {
        return fail(Code::invalid, "the bundle's batches are not one node's sequence");
      }
      count(bundle, batch);
    }
    return bundle;
  } catch (const std::exception& e) {
    return fail(Code::corrupt, "the bundle's manifest is not to be used: {}", e.what());
  }
}

ClassReceipt class_receipt(const json& c) {
  auto outbox_class = class_of(text_of(c, "class"));
  if (!outbox_class.ok()) throw std::runtime_error(outbox_class.error().message);
  ClassReceipt out{*outbox_class, number_of(c, "verified"), number_of(c, "entry"), number_of(c, "watermark"), c.at("other_history").get<bool>(), text_of(c, "problem")};
  if (out.verified > kSeqMax || out.watermark > kSeqMax || out.verified > out.watermark) throw std::runtime_error("its numbers contradict each other");
  return out;
}

Result<Receipt> open_receipt(const Parts& parts, bool check) {
  try {
    Receipt receipt{.head = head_of(parts, "receipt"), .hub = {}, .bundle = {}, .classes = {}, .models = {}};
    if (check) SKERRY_TRY(check_signature(parts, receipt.head));
    if (!parts.messages.empty()) return fail(Code::corrupt, "the receipt has {} bytes behind its end", parts.messages.size());
    receipt.hub = text_of(parts.manifest, "hub");
    receipt.bundle = text_of(parts.manifest, "bundle");
    const json &classes = parts.manifest.at("classes"), &models = parts.manifest.at("models");
    if (classes.size() > std::size(storage::kOutboxClasses) || models.size() > kBundleOffersMax) throw std::runtime_error("it lists too much");
    for (const json& c : classes) {
      receipt.classes.push_back(class_receipt(c));
      for (size_t i = 0; i + 1 < receipt.classes.size(); ++i) {
        if (receipt.classes[i].outbox_class == receipt.classes.back().outbox_class) throw std::runtime_error("it speaks of a class twice");
      }
    }
    for (const json& m : models) {
      const uint64_t version = number_of(m, "version");
      if (version > UINT32_MAX) throw std::runtime_error("a version is out of range");
      receipt.models.push_back({text_of(m, "model"), static_cast<uint32_t>(version), text_of(m, "digest")});
    }
    return receipt;
  } catch (const std::exception& e) {
    return fail(Code::corrupt, "the receipt's manifest is not to be used: {}", e.what());
  }
}

const storage::OutboxStatus& of(const std::vector<storage::OutboxStatus>& all, OutboxClass outbox_class) {
  return *std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.outbox_class == outbox_class; });
}

Result<uint64_t> oldest_kept(storage::Store& store, const internal::EpochFloors& floors, const storage::OutboxStatus& s) {
  const uint64_t floor = floors.of(s.outbox_class);
  if (s.acked_seq <= floor) return s.acked_seq + 1;
  SKERRY_ASSIGN(const auto kept, store.outbox_read(s.outbox_class, 0, 1));
  return kept.empty() ? s.acked_seq + 1 : std::clamp(kept.front().seq, floor + 1, s.acked_seq + 1);
}

// Whether an entry of this store is the one that the hub speaks of.
Status check_history(storage::Store& store, const ClassReceipt& c, const storage::OutboxStatus& s) {
  const char* name = storage::to_string(c.outbox_class);
  if (c.verified > s.last_seq) {
    return fail(Code::invalid, "the hub holds {} up to {} of what this node exported, this store only queued up to {}: an old disk image was restored since. Export "
                "again; the receipt of that tells which part is the same", name, c.verified, s.last_seq);
  }
  if (c.verified <= s.acked_seq || c.entry == 0) return {};
  SKERRY_ASSIGN(const auto items, store.outbox_read(c.outbox_class, c.verified, 1));
  if (items.empty() || items.front().seq != c.verified || items.front().kind == storage::EntryKind::lost) return {};  // lost by rule meanwhile
  if (digest_after(kFirstChain, items.front()) == c.entry) return {};
  return fail(Code::invalid, "{} {} is another entry here than in the bundle that the receipt answers: an old disk image was restored since. Export again", name, c.verified);
}

}  // namespace

Result<OutboxBundle> cut_bundle(storage::Store& store, const BundleRequest& request, const Clock& clock) {
  const storage::Identity identity = store.identity();
  const internal::DeadLetters dead(store);
  const internal::EpochFloors floors(store);
  const auto backlog = store.outbox_status();
  OutboxBundle bundle{.head = {identity.node, identity.epoch, {}, {}, clock.now_ns()}, .hello = {.node = identity.node, .epoch = identity.epoch, .software = kSoftware},
                      .batches = {}, .last = {}};
  for (const auto& s : backlog) {
    SKERRY_ASSIGN(const uint64_t oldest, oldest_kept(store, floors, s));
    bundle.hello.positions.push_back({s.outbox_class, s.acked_seq + 1, s.last_seq, oldest});
    bundle.hello.backlog_bytes += s.bytes;
  }
  uint64_t bytes = 0;
  const uint64_t bytes_max = std::min(request.bytes_max, kBundleBytes);
  for (size_t i = 0; i < backlog.size() && bytes < bytes_max; ++i) {
    const auto& s = backlog[i];
    if (request.only && s.outbox_class != *request.only) continue;
    auto after = request.after.find(s.outbox_class);
    uint64_t next = std::max(request.again ? bundle.hello.positions[i].oldest() : s.acked_seq + 1, after == request.after.end() ? 0 : after->second + 1);
    while (next <= s.last_seq && bytes < bytes_max && bundle.batches.size() + 1 < kBundleMessagesMax) {
      SKERRY_ASSIGN(auto items, store.outbox_read(s.outbox_class, next, kReadBytes));
      if (items.empty()) break;
      dead.leave_out(s.outbox_class, items);
      Batch batch{identity.node, identity.epoch, s.outbox_class, {}};
      uint64_t payload = 0;
      for (OutboxItem& item : items) {
        payload += item.payload.size() + item.subject.size() + 64;
        if (batch.entries.size() == kBatchEntriesMax || payload > kPayloadBytesMax) break;
        batch.entries.push_back(std::move(item));
      }
      if (batch.entries.empty()) break;  // too large for any way to the hub: `skerry sync` says so of the class
      std::string message = encode(batch);
      if (bytes + message.size() + kManifestBytesMax > kBundleBytesMax) return bundle;
      next = batch.entries.back().end_seq() + 1;
      bytes += message.size();
      count(bundle, batch);
      bundle.batches.push_back(std::move(message));
    }
  }
  return bundle;
}

Result<std::string> pack(const OutboxBundle& bundle, const SigningKey& key) {
  json manifest = head_json(bundle.head, "outbox", key);
  std::string messages = encode(bundle.hello);
  manifest["entries"] = bundle.entries;  // for people
  manifest["records"] = bundle.records;
  manifest["messages"] = json::array({message_json(messages)});
  for (const std::string& batch : bundle.batches) {
    manifest["messages"].push_back(message_json(batch));
    messages += batch;
  }
  return seal(manifest, messages, key);
}

Result<std::string> pack(const Receipt& receipt, const SigningKey& key) {
  json manifest = head_json(receipt.head, "receipt", key);
  manifest["hub"] = receipt.hub;
  manifest["bundle"] = receipt.bundle;
  manifest["classes"] = manifest["models"] = json::array();
  for (const ClassReceipt& c : receipt.classes) {
    manifest["classes"].push_back({{"class", storage::to_string(c.outbox_class)}, {"verified", c.verified}, {"entry", c.entry}, {"watermark", c.watermark},
                                   {"other_history", c.other_history}, {"problem", c.problem.substr(0, kTextBytesMax)}});
  }
  for (const ModelOffer& m : receipt.models) manifest["models"].push_back({{"model", m.model}, {"version", m.version}, {"digest", m.digest}});
  return seal(manifest, "", key);
}

Result<OutboxBundle> unpack_outbox(std::string_view file) {
  SKERRY_ASSIGN(const Parts parts, split(file));
  return open_outbox(parts, true);
}

Result<OutboxBundle> unpack_outbox_unsigned(std::string_view file) {
  SKERRY_ASSIGN(const Parts parts, split(file));
  return open_outbox(parts, false);
}

Result<Receipt> unpack_receipt(std::string_view file) {
  SKERRY_ASSIGN(const Parts parts, split(file));
  return open_receipt(parts, true);
}

Result<Receipt> unpack_receipt_unsigned(std::string_view file) {
  SKERRY_ASSIGN(const Parts parts, split(file));
  return open_receipt(parts, false);
}

Result<ReceiptTaken> take_receipt(storage::Store& store, const Receipt& receipt) {
  const storage::Identity identity = store.identity();
  if (receipt.head.node != identity.node) return fail(Code::invalid, "the receipt is for node {}, this is {}", receipt.head.node, identity.node);
  if (receipt.head.epoch != identity.epoch) {
    return fail(Code::invalid, "the receipt is of an epoch that has ended here: what waits goes under the present one; export again");
  }
  const auto backlog = store.outbox_status();
  for (const ClassReceipt& c : receipt.classes) SKERRY_TRY(check_history(store, c, of(backlog, c.outbox_class)));
  ReceiptTaken taken;
  for (const ClassReceipt& c : receipt.classes) {
    const auto& s = of(backlog, c.outbox_class);
    if (c.verified > s.acked_seq) {
      SKERRY_TRY(store.outbox_acknowledge(c.outbox_class, c.verified));
      taken.acknowledged[c.outbox_class] = c.verified - s.acked_seq;
    }
    if (!c.problem.empty()) taken.problems.push_back(fmt::format("{}: {}", storage::to_string(c.outbox_class), c.problem));
    taken.epoch_begins = taken.epoch_begins || c.watermark > s.last_seq || c.other_history;
  }
  if (taken.epoch_begins) SKERRY_TRY(internal::ask_for_epoch(store));
  return taken;
}

}  // namespace skerry::sync
