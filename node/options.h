// Options of the daemon itself; config/ fills them from [node] and [http].
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/clock.h"

namespace skerry::node {

struct HttpOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8471;
  uint64_t body_bytes_max = 16 << 20;
  uint32_t header_bytes_max = 16 << 10;
  Duration request_timeout = std::chrono::seconds(15);
  Duration idle_timeout = std::chrono::seconds(60);
  uint32_t connections_max = 512;
  uint32_t threads = 2;
};

struct ZmqOptions {
  bool enabled = false;
  std::filesystem::path ipc = "inference.sock";  // in data_dir; empty: none
  std::string tcp;                               // "127.0.0.1:8472"; empty: none
  uint64_t message_bytes_max = 16 << 20;         // of a frame
  uint32_t messages_max = 1000;                  // that wait per peer, in each direction
  Duration spin = std::chrono::microseconds(200);  // how long the socket is watched awake for the next message of a caller who asks without a pause
};

struct Options {
  std::string name = "node";                 // towards the hub
  std::filesystem::path data_dir = "var";    // store/, models/ and jobs/ lie in it
  HttpOptions http;
  ZmqOptions zmq;
  bool repair_store = true;                  // at the start, when it is too damaged to be opened (storage/recovery.h)
};

}  // namespace skerry::node
