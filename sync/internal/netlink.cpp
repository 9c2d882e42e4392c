#include "sync/internal/netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstring>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000  // of linux/if.h, which net/if.h does not get along with
#endif

namespace skerry::sync::internal {
namespace {

constexpr size_t kDevicesMax = 1024, kRoutesMax = 4096;
constexpr size_t align(size_t n) { return (n + 3) & ~size_t{3}; }

template <typename T>
bool take(std::string_view& in, T& out) {  // a header and its padding; bytes are copied, as nothing says that they are aligned
  if (in.size() < sizeof(T)) return false;
  std::memcpy(&out, in.data(), sizeof(T));
  in.remove_prefix(std::min(in.size(), align(sizeof(T))));
  return true;
}

// Calls with type and value of each attribute until one does not fit.
template <typename Visit>
void attributes(std::string_view in, Visit visit) {
  rtattr attribute{};
  while (in.size() >= sizeof(attribute)) {
    std::memcpy(&attribute, in.data(), sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > in.size()) return;
    visit(attribute.rta_type, in.substr(sizeof(attribute), attribute.rta_len - sizeof(attribute)));
    in.remove_prefix(std::min(in.size(), align(attribute.rta_len)));
  }
}

uint32_t number(std::string_view value) {
  uint32_t out = 0;
  if (value.size() >= sizeof(out)) std::memcpy(&out, value.data(), sizeof(out));
  return out;
}

}  // namespace

void LinkTable::apply(std::string_view datagram) {
  nlmsghdr header{};
  while (datagram.size() >= sizeof(header)) {
    std::memcpy(&header, datagram.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > datagram.size()) return;
    const std::string_view body = datagram.substr(sizeof(header), header.nlmsg_len - sizeof(header));
    switch (header.nlmsg_type) {
      case RTM_NEWLINK: link(body, false); break;
      case RTM_DELLINK: link(body, true); break;
      case RTM_NEWROUTE: route(body, false); break;
      case RTM_DELROUTE: route(body, true); break;
      default: break;
    }
    datagram.remove_prefix(std::min(datagram.size(), align(header.nlmsg_len)));
  }
}

void LinkTable::clear() {
  devices_.clear();
  routes_.clear();
}

void LinkTable::link(std::string_view body, bool gone) {
  ifinfomsg info{};
  if (!take(body, info)) return;
  if (gone) {
    devices_.erase(info.ifi_index);
    return;
  }
  if (devices_.size() >= kDevicesMax && !devices_.contains(info.ifi_index)) return;
  Device& device = devices_[info.ifi_index];
  device.loopback = (info.ifi_flags & IFF_LOOPBACK) != 0;
  device.carrier = (info.ifi_flags & IFF_UP) != 0 && (info.ifi_flags & IFF_LOWER_UP) != 0;
  attributes(body, [&](uint16_t type, std::string_view value) {
    if (type == IFLA_IFNAME) device.name = value.substr(0, value.find('\0')).substr(0, IFNAMSIZ - 1);
  });
}

void LinkTable::route(std::string_view body, bool gone) {
  rtmsg message{};
  if (!take(body, message)) return;
  if (message.rtm_dst_len != 0 || message.rtm_type != RTN_UNICAST) return;
  uint32_t table = message.rtm_table, metric = 0, device = 0;
  attributes(body, [&](uint16_t type, std::string_view value) {
    if (type == RTA_TABLE) table = number(value);
    if (type == RTA_PRIORITY) metric = number(value);
    if (type == RTA_OIF) device = number(value);
  });
  if (table != RT_TABLE_MAIN || device == 0) return;
  const std::tuple key{metric, message.rtm_family, static_cast<int>(device)};
  if (gone) routes_.erase(key);
  else if (routes_.size() < kRoutesMax) routes_[key] = true;
}

const Device* LinkTable::device(const std::string& name) const {
  for (const auto& [index, device] : devices_) {
    if (device.name == name) return &device;
  }
  return nullptr;
}

const Device* LinkTable::default_route() const {
  for (const auto& [route, there] : routes_) {
    const auto found = devices_.find(std::get<2>(route));
    if (found != devices_.end() && found->second.carrier) return &found->second;
  }
  return nullptr;
}

}  // namespace skerry::sync::internal
