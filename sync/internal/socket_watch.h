// The socket of a connection in use, counted and cut from outside the library that owns it: cpprestsdk can do neither.
// Threads: any. Owns: a duplicate of the descriptor, so it can never touch another connection.
#pragma once

#include <cstdint>
#include <mutex>

namespace skerry::sync::internal {

class SocketWatch {
 public:
  SocketWatch() = default;
  SocketWatch(const SocketWatch&) = delete;
  SocketWatch& operator=(const SocketWatch&) = delete;
  ~SocketWatch();

  void watch(int fd);          // a new connection, perhaps in the middle of an exchange
  void begin();                // an exchange starts, perhaps on a connection that has been used before
  uint64_t received() const;   // bytes that came for this exchange: headers, framing and TLS included
  void cut();                  // shuts the socket down, whatever is going on

 private:
  uint64_t total() const;

  mutable std::mutex mutex_;
  int fd_ = -1;
  uint64_t base_ = 0;
};

}  // namespace skerry::sync::internal
