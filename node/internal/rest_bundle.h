// The routes of bundles, registered with those of sync.
#pragma once

#include "base/http_server.h"
#include "node/node.h"

namespace skerry::node {

void add_bundle_routes(http::Router& router, Node& node);  // /v1/sync/bundle, /v1/sync/receipt

}  // namespace skerry::node
