// Bundles that people carry: each is applied as if its messages had come over HTTP, and answered by a signed receipt, which alone lets the node
// acknowledge. Who carries one need not be known: the node's signature says whose it is.
// Threads: any.
// On failure: corrupt and invalid as sync/bundle.h, before anything is applied; exhausted and unavailable of the store: what was applied stays, carry it again.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "hub/receiver.h"

namespace skerry::hub {

struct BundleOptions {
  std::filesystem::path key;       // PEM: the hub signs receipts with it; empty: no bundles are taken
  std::filesystem::path trusted;   // lines of a node's name and its public key; both are read for each bundle
  std::filesystem::path models;    // packages that receipts offer
  std::string name = "hub";
};

Result<std::string> take_bundle(Receiver& receiver, const BundleOptions& options, const Clock& clock, std::string_view file);

}  // namespace skerry::hub
