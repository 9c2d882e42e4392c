#include "sync/internal/socket_watch.h"

#include <fcntl.h>
#include <linux/tcp.h>  // the C library's tcp_info ends before tcpi_bytes_received
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace skerry::sync::internal {

SocketWatch::~SocketWatch() {
  if (fd_ >= 0) ::close(fd_);
}

void SocketWatch::watch(int fd) {
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  std::lock_guard lock(mutex_);
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  base_ = 0;
}

void SocketWatch::begin() {
  std::lock_guard lock(mutex_);
  base_ = total();
}

uint64_t SocketWatch::received() const {
  std::lock_guard lock(mutex_);
  const uint64_t now = total();
  return now - std::min(base_, now);
}

void SocketWatch::cut() {
  std::lock_guard lock(mutex_);
  if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

uint64_t SocketWatch::total() const {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (fd_ < 0 || ::getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return info.tcpi_bytes_received;
}

}  // namespace skerry::sync::internal
