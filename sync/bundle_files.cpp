#include "sync/bundle_files.h"

#include <nlohmann/json.hpp>

namespace skerry::sync {

using nlohmann::json;

Result<std::string> sign_bundle(storage::Store& store, const BundleRequest& request, const Clock& clock, const std::filesystem::path& data_dir) {
  const auto file = data_dir / kBundleKeyFile;
  auto key = SigningKey::read(file);
  if (!key.ok() && key.error().code == Code::not_found) {
    return fail(Code::invalid, "no key signs bundles of this node: make one with `skerry bundle keygen {}`, and give its line to the hub", file.string());
  }
  if (!key.ok()) return key.error();
  SKERRY_ASSIGN(const OutboxBundle bundle, cut_bundle(store, request, clock));
  return pack(bundle, *key);
}

Result<Receipt> trusted_receipt(std::string_view file, const std::filesystem::path& data_dir) {
  const auto path = data_dir / kBundleTrustedFile;
  auto trusted = TrustedKeys::read(path);
  if (!trusted.ok() && trusted.error().code == Code::not_found) {
    return fail(Code::invalid, "this node trusts no hub's receipts: write the hub's name and public key into {}", path.string());
  }
  if (!trusted.ok()) return trusted.error();
  SKERRY_ASSIGN(Receipt receipt, unpack_receipt(file));
  if (trusted->owner(receipt.head.signer).empty()) {
    return fail(Code::invalid, "the receipt was signed by {}, which {} does not name: add it if it is the hub's key", receipt.head.signer, path.string());
  }
  return receipt;
}

json taken_json(const Receipt& receipt, const ReceiptTaken& taken) {
  json acknowledged = json::object(), models = json::array();
  for (const auto& [outbox_class, entries] : taken.acknowledged) acknowledged[storage::to_string(outbox_class)] = entries;
  for (const ModelOffer& m : receipt.models) models.push_back({{"model", m.model}, {"version", m.version}, {"digest", m.digest}});
  return {{"hub", receipt.hub}, {"acknowledged", acknowledged}, {"epoch_begins", taken.epoch_begins}, {"problems", taken.problems}, {"models", models}};
}

}  // namespace skerry::sync
