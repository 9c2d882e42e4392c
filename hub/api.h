// The hub over HTTP: where nodes deliver, and where people and programs look. README.md lists the endpoints.
// Threads: handle() from any.
// Access: without a proof of who asks, 401; /health is for everybody, models and bundles for every name, deliveries for the node that they name,
// everything else for an operator; otherwise 403.
// On failure: errors of the receiver become the status that base/http_server.h gives them; a damaged message is 400.
#pragma once

#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/http_server.h"
#include "hub/access.h"
#include "hub/bundles.h"
#include "hub/receiver.h"

namespace skerry::hub {

struct ApiOptions {
  std::filesystem::path models;   // a folder of packages, NAME/VERSION/; empty: none are offered
  BundleOptions bundles;
};

class Api {
 public:
  // `access` null: everybody may do everything.
  Api(Receiver& receiver, const ApiOptions& options, const Clock& clock, Access* access = nullptr);
  ~Api();
  http::Response handle(http::Request& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::hub
