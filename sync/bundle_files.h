// A node's side of bundles, for the daemon's REST and for the command line where no daemon runs. Keys lie in the data folder: bundle.key signs what the node
// exports, bundle.trusted (lines of a name and a public key) says which hubs' receipts count.
// Threads: any.
// On failure: as signature.h and bundle.h, naming the file and the command that makes it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <string_view>

#include "sync/bundle.h"

namespace skerry::sync {

inline constexpr const char* kBundleKeyFile = "bundle.key";
inline constexpr const char* kBundleTrustedFile = "bundle.trusted";

Result<std::string> sign_bundle(storage::Store& store, const BundleRequest& request, const Clock& clock, const std::filesystem::path& data_dir);
Result<Receipt> trusted_receipt(std::string_view file, const std::filesystem::path& data_dir);
nlohmann::json taken_json(const Receipt& receipt, const ReceiptTaken& taken);

}  // namespace skerry::sync
