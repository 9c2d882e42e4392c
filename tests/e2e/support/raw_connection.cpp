#include "tests/e2e/support/raw_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace skerry::e2e {
namespace {

constexpr size_t kReplyBytesMax = 16 << 20;

Error broken(const char* what) { return fail(Code::unavailable, "{}: {}", what, std::strerror(errno)); }

std::string header_value(const std::string& head, const std::string& lower_case_name) {
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    size_t colon = head.find(':', at + 2);
    if (colon == std::string::npos) break;
    std::string name = head.substr(at + 2, colon - at - 2);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name != lower_case_name) continue;
    size_t from = head.find_first_not_of(' ', colon + 1), to = head.find("\r\n", colon);
    return from == std::string::npos || from >= to ? "" : head.substr(from, to - from);
  }
  return "";
}

}  // namespace

Result<RawConnection> RawConnection::open(uint16_t port, std::chrono::milliseconds timeout) {
  RawConnection connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connection.fd_ < 0) return broken("socket");
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(timeout.count() / 1000);
  limit.tv_usec = static_cast<suseconds_t>(timeout.count() % 1000 * 1000);
  ::setsockopt(connection.fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(connection.fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(connection.fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return broken("connect");
  return connection;
}

RawConnection::RawConnection(RawConnection&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffered_(std::move(other.buffered_)) {}

RawConnection::~RawConnection() {
  if (fd_ >= 0) ::close(fd_);
}

Status RawConnection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return broken("send");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<Reply> RawConnection::receive() {
  auto more = [&]() -> Status {
    char block[65536];
    ssize_t n;
    do n = ::recv(fd_, block, sizeof block, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0) return fail(Code::unavailable, "the server closed the connection");
    if (n < 0) return broken("receive");
    buffered_.append(block, static_cast<size_t>(n));
    if (buffered_.size() > kReplyBytesMax) return fail(Code::exhausted, "a reply over {} bytes", kReplyBytesMax);
    return {};
  };
  size_t head_end;
  while ((head_end = buffered_.find("\r\n\r\n")) == std::string::npos) SKERRY_TRY(more());
  std::string head = buffered_.substr(0, head_end + 2);
  buffered_.erase(0, head_end + 4);
  if (!head.starts_with("HTTP/1.") || head.size() < 12) return fail(Code::corrupt, "no status line in the reply");
  Reply reply;
  reply.status = std::atoi(head.c_str() + 9);
  size_t size = std::strtoull(header_value(head, "content-length").c_str(), nullptr, 10);
  while (buffered_.size() < size) SKERRY_TRY(more());
  reply.body = buffered_.substr(0, size);
  buffered_.erase(0, size);
  return reply;
}

bool RawConnection::closed_by_server(std::chrono::milliseconds within) {
  const auto until = std::chrono::steady_clock::now() + within;
  char block[65536];
  while (true) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd waiting{fd_, POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(left)) <= 0) return false;
    ssize_t n = ::recv(fd_, block, sizeof block, 0);
    if (n == 0 || (n < 0 && errno != EINTR)) return true;
  }
}

}  // namespace skerry::e2e
