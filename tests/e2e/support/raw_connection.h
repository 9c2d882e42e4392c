// A TCP connection to a server under test that can misbehave as our own client can't: half a request, a body without end, silence.
// Loopback only.
// Threads: one owner at a time.
// On failure: unavailable, with what happened to the connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace skerry::e2e {

struct Reply {
  int status = 0;
  std::string body;
};

class RawConnection {
 public:
  static Result<RawConnection> open(uint16_t port, std::chrono::milliseconds timeout = std::chrono::seconds(20));
  RawConnection(RawConnection&& other) noexcept;
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(RawConnection&&) = delete;
  ~RawConnection();

  Status send(std::string_view bytes);   // Error: the server closed the connection, or takes nothing
  Result<Reply> receive();               // an answer with a Content-Length
  bool closed_by_server(std::chrono::milliseconds within);  // drops what comes before

 private:
  explicit RawConnection(int fd) : fd_(fd) {}
  int fd_ = -1;
  std::string buffered_;
};

}  // namespace skerry::e2e
