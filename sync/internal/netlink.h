// The kernel's messages about links and routes (rtnetlink(7)) as a table. Pure: bytes in, table changed; whatever the bytes are.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace skerry::sync::internal {

struct Device {
  std::string name;
  bool carrier = false;
  bool loopback = false;
};

class LinkTable {
 public:
  // All messages of one datagram.
  void apply(std::string_view datagram);
  void clear();

  const Device* device(const std::string& name) const;
  const Device* default_route() const;    // that with the lowest metric; null: none
  const std::map<int, Device>& devices() const { return devices_; }

 private:
  void link(std::string_view body, bool gone);
  void route(std::string_view body, bool gone);

  std::map<int, Device> devices_;                             // by interface index
  std::map<std::tuple<uint32_t, uint8_t, int>, bool> routes_;  // metric, family, interface index
};

}  // namespace skerry::sync::internal
