// Inference over ZeroMQ, for callers in a control loop: a ROUTER socket on ipc and tcp. A message is one frame of JSON - that of the REST API's
// inference, with "model" and perhaps "version" - and a frame for each input that has no "data"; the answer is the same, in frames. Checks,
// queues and statistics are those of REST (docs/zeromq.md).
// Threads: step() from one; the socket lives in it.
// Owns: the socket, and the ipc file.
// On failure: a message that makes no sense is answered with {"error", "status"}; one that is too large ends its connection. What a peer
// does not fetch is dropped (high-water mark).
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "node/node.h"
#include "node/options.h"

namespace skerry::node {

class ZmqApi {
 public:
  // Binds. `node` must outlive it, and the scheduler be stopped before it goes. Error: unavailable, naming the endpoint.
  static Result<std::unique_ptr<ZmqApi>> open(const ZmqOptions& options, const std::filesystem::path& data_dir, Node& node);
  ~ZmqApi();

  // Waits up to `patience` for messages, and answers what has come. Zero: call again at once.
  Duration step(Duration patience = std::chrono::milliseconds(200));
  uint64_t messages() const;
  const std::string& endpoints() const;  // "ipc:///... tcp://127.0.0.1:8472", with the real port

 private:
  struct Impl;
  explicit ZmqApi(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::node
