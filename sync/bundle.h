// What a link does not carry, a stick does: the outbox as files, and the hub's receipts back. A bundle holds the very messages that go over HTTP,
// so it may be carried twice, late, or beside a link that works. Only a receipt acknowledges.
//
//   "SKRYBNDL"  u32 size of the manifest (little-endian)  manifest (JSON)  Ed25519 signature of all before it  messages, as the manifest lists them
//
// Threads: any; one at a time per store for take_receipt().
// On failure: corrupt (damaged, cut short, or not signed by the key that it names), invalid (of somebody else, or of another history), and nothing is changed.
// Everything is bounded by kBundleBytesMax before it is looked at.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "storage/store.h"
#include "sync/signature.h"
#include "sync/wire.h"

namespace skerry::sync {

inline constexpr uint64_t kBundleBytesMax = kEnvelopeBytesMax + (2 << 20);
inline constexpr uint64_t kBundleBytes = 8 << 20;      // of one file, about; what is more goes into the next
inline constexpr size_t kBundleMessagesMax = 4096;
inline constexpr size_t kBundleOffersMax = 64;

struct BundleHead {
  std::string node;            // whose outbox
  uint64_t epoch = 0;
  std::string signer;          // public key
  std::string id;              // SHA-256 of the manifest
  int64_t made_ns = 0;         // for people
};

struct OutboxBundle {
  BundleHead head;
  Hello hello;
  std::vector<std::string> batches;      // as they would go over HTTP; of a class in sequence
  // What is in it, for people and for the next file.
  std::map<storage::OutboxClass, uint64_t> last;
  uint64_t entries = 0, records = 0;
};

// What the hub says of one class.
struct ClassReceipt {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t verified = 0;       // the hub holds the bundle's entries up to here; 0: none of them
  uint64_t entry = 0;          // digest_after(kFirstChain, entry `verified`); 0: it is not known
  uint64_t watermark = 0;      // what it holds in all
  bool other_history = false;  // the entry behind `verified` is another one at the hub
  std::string problem;         // why the rest was not taken; empty: all was
};

struct ModelOffer {
  std::string model;
  uint32_t version = 0;
  std::string digest;          // of the package
};

struct Receipt {
  BundleHead head;
  std::string hub, bundle;     // `bundle`: id of what it answers
  std::vector<ClassReceipt> classes;
  std::vector<ModelOffer> models;
};

struct BundleRequest {
  std::optional<storage::OutboxClass> only;
  std::map<storage::OutboxClass, uint64_t> after;  // what earlier files hold
  uint64_t bytes_max = kBundleBytes;
  bool again = false;          // from the oldest that is kept: the hub lost what it had acknowledged
};

// The next file of a store's outbox; without batches when nothing is left. Acknowledges nothing.
Result<OutboxBundle> cut_bundle(storage::Store& store, const BundleRequest& request, const Clock& clock);

Result<std::string> pack(const OutboxBundle& bundle, const SigningKey& key);
Result<std::string> pack(const Receipt& receipt, const SigningKey& key);
// Bounds, signature and every message, but not whether the signer is to be trusted: that is the owner of head.signer.
Result<OutboxBundle> unpack_outbox(std::string_view file);
Result<Receipt> unpack_receipt(std::string_view file);
// The same without the signature: what a fuzzer reaches.
Result<OutboxBundle> unpack_outbox_unsigned(std::string_view file);
Result<Receipt> unpack_receipt_unsigned(std::string_view file);

struct ReceiptTaken {
  std::map<storage::OutboxClass, uint64_t> acknowledged;  // entries that were waiting until now
  bool epoch_begins = false;   // the hub has another history: what is left goes under a new epoch
  std::vector<std::string> problems;
};

// Acknowledges what the hub holds, as far as it is this store's own history. An old receipt changes nothing. Error: invalid when it is of another node, epoch or
// history; then nothing is changed.
Result<ReceiptTaken> take_receipt(storage::Store& store, const Receipt& receipt);

}  // namespace skerry::sync
