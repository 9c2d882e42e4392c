// The hub over HTTP: where nodes deliver, and where people and programs look. README.md lists the endpoints.
// Threads: handle() from any.
// On failure: errors of the receiver become the status that base/http_server.h gives them; a damaged message is 400.
#pragma once

#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/http_server.h"
#include "hub/receiver.h"

namespace skerry::hub {

struct ApiOptions {
  std::filesystem::path models;   // a folder of packages, NAME/VERSION/; empty: none are offered
};

class Api {
 public:
  Api(Receiver& receiver, const ApiOptions& options, const Clock& clock);
  ~Api();
  http::Response handle(http::Request& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::hub
