// The node's REST API: Open Inference Protocol v2, InfluxDB writes, and /v1 for everything of Skerry's own. docs/openapi.yaml describes
// exactly these routes (a test compares them).
// Threads: handlers may run on any number of threads at once.
// On failure: {"error": "..."} with the status of base/http_server.h; a write is taken whole or not at all.
#pragma once

#include "base/http_server.h"
#include "node/node.h"

namespace skerry::node {

class HttpCounters;  // what /metrics says about the API itself

// `node` and `counters` must outlive the router.
http::Router make_router(Node& node, HttpCounters& counters);
// Router and counters in one, for Server::open; what is answered faster than handed to another thread is answered by `direct`.
struct Handlers {
  http::Handler all;
  http::DirectHandler direct;
};
Handlers make_handlers(Node& node);

}  // namespace skerry::node
