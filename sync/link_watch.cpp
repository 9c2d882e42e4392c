#include "sync/link_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "base/log.h"
#include "sync/internal/netlink.h"

namespace skerry::sync {
namespace {

constexpr int kDatagramsPerLook = 256;   // a flood of signals takes its turns
constexpr size_t kDatagramBytes = 64 << 10;

// What sysfs says of a device's kind; nothing when it does not.
Technology kind_of(const std::string& device) {
  std::ifstream uevent("/sys/class/net/" + device + "/uevent");
  for (std::string line; std::getline(uevent, line);) {
    if (line == "DEVTYPE=wlan") return Technology::wifi;
    if (line.rfind("DEVTYPE=", 0) == 0) return Technology::unknown;  // wwan, bridge, vlan...: not known from here
  }
  std::ifstream type("/sys/class/net/" + device + "/type");
  int arp_type = 0;
  return type >> arp_type && arp_type == 1 && std::ifstream("/sys/class/net/" + device + "/device/uevent").good() ? Technology::ethernet : Technology::unknown;
}

class NetlinkWatch final : public LinkWatch {
 public:
  explicit NetlinkWatch(const Clock& clock) : clock_(clock) {}
  ~NetlinkWatch() override {
    if (socket_ >= 0) ::close(socket_);
  }

  Status start() {
    socket_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    if (socket_ < 0 || ::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return fail(Code::unavailable, "the kernel gives no state of links: {}", std::strerror(errno));
    }
    ask();
    return {};
  }

  void look() override {
    std::string buffer(kDatagramBytes, '\0');
    std::lock_guard lock(mutex_);
    for (int i = 0; i < kDatagramsPerLook; ++i) {
      sockaddr_nl from{};
      iovec piece{buffer.data(), buffer.size()};
      msghdr message{};
      message.msg_name = &from;
      message.msg_namelen = sizeof(from);
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      const ssize_t n = ::recvmsg(socket_, &message, 0);
      if (n < 0 && errno == ENOBUFS) {  // something was missed: begin anew
        table_.clear();
        pending_.clear();
        ask();
        continue;
      }
      if (n <= 0) break;
      if (from.nl_pid != 0) continue;  // only the kernel is believed
      const std::string_view datagram(buffer.data(), static_cast<size_t>(n));
      table_.apply(datagram);
      dumped(datagram);
    }
    note_changes();
  }

  LinkFacts facts(const BearerPolicy& bearer) const override {
    std::lock_guard lock(mutex_);
    LinkFacts facts;
    const internal::Device* device = bearer.device.empty() ? table_.default_route() : table_.device(bearer.device);
    facts.up = bearer.device.empty() || (device != nullptr && device->carrier);
    if (device == nullptr) return facts;
    facts.device = device->name;
    if (auto kind = kinds_.find(device->name); kind != kinds_.end()) facts.technology = kind->second;
    if (facts.technology != Technology::unknown) facts.technology_from = "kernel";
    if (auto since = since_.find(device->name); since != since_.end()) facts.stable_since = since->second;
    return facts;
  }

 private:
  // Links first; routes when their dump is done, as the kernel takes one at a time.
  void ask() { request(RTM_GETLINK); pending_ = {RTM_GETROUTE}; }

  void request(uint16_t type) {
    struct {
      nlmsghdr header;
      rtgenmsg body;
    } message{};
    message.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg));
    message.header.nlmsg_type = type;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.body.rtgen_family = AF_UNSPEC;
    if (::send(socket_, &message, message.header.nlmsg_len, 0) < 0) log::warn("sync", "the kernel was not asked for links: {}", std::strerror(errno));
  }

  void dumped(std::string_view datagram) {
    nlmsghdr header{};
    if (datagram.size() < sizeof(header)) return;
    std::memcpy(&header, datagram.data(), sizeof(header));
    if (header.nlmsg_type != NLMSG_DONE || pending_.empty()) return;
    const uint16_t next = *pending_.begin();
    pending_.erase(pending_.begin());
    request(next);
  }

  void note_changes() {
    for (const auto& [index, device] : table_.devices()) {
      if (!kinds_.contains(device.name)) kinds_[device.name] = kind_of(device.name);
      auto [known, fresh] = carriers_.emplace(device.name, device.carrier);
      if (!fresh && known->second != device.carrier) since_[device.name] = clock_.steady();
      known->second = device.carrier;
    }
  }

  const Clock& clock_;
  int socket_ = -1;
  std::set<uint16_t> pending_;   // dumps to ask for
  mutable std::mutex mutex_;
  internal::LinkTable table_;
  std::map<std::string, bool> carriers_;
  std::map<std::string, Technology> kinds_;
  std::map<std::string, SteadyTime> since_;
};

}  // namespace

Result<std::unique_ptr<LinkWatch>> LinkWatch::open(const Clock& clock) {
  auto watch = std::make_unique<NetlinkWatch>(clock);
  SKERRY_TRY(watch->start());
  return std::unique_ptr<LinkWatch>(std::move(watch));
}

}  // namespace skerry::sync
