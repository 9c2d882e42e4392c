// What the kernel and sysfs say, and what is made of nonsense.
#include <catch2/catch.hpp>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "sync/device_probe.h"
#include "sync/internal/netlink.h"
#include "sync/link_watch.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::internal;

namespace {

template <typename T>
void put(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  while (out.size() % 4 != 0) out += '\0';
}

void attribute(std::string& out, uint16_t type, const std::string& value) {
  put(out, rtattr{static_cast<unsigned short>(sizeof(rtattr) + value.size()), type});
  out += value;
  while (out.size() % 4 != 0) out += '\0';
}

std::string bytes(uint32_t n) { return {reinterpret_cast<const char*>(&n), sizeof(n)}; }

std::string message(uint16_t type, const std::string& body) {
  std::string out;
  put(out, nlmsghdr{static_cast<uint32_t>(sizeof(nlmsghdr) + body.size()), type, 0, 0, 0});
  return out + body;
}

std::string link(int index, const std::string& name, bool carrier, uint16_t type = RTM_NEWLINK) {
  std::string body;
  ifinfomsg info{};
  info.ifi_index = index;
  info.ifi_flags = IFF_UP | (carrier ? 0x10000u : 0u);
  put(body, info);
  attribute(body, IFLA_IFNAME, name + '\0');
  return message(type, body);
}

std::string default_route(int index, uint32_t metric, uint16_t type = RTM_NEWROUTE) {
  std::string body;
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_type = RTN_UNICAST;
  put(body, route);
  attribute(body, RTA_PRIORITY, bytes(metric));
  attribute(body, RTA_OIF, bytes(static_cast<uint32_t>(index)));
  return message(type, body);
}

}  // namespace

TEST_CASE("link: the default route leads over the carrier with the lowest metric") {
  LinkTable table;
  table.apply(link(2, "eth0", true) + link(3, "wwan0", true) + default_route(3, 700) + default_route(2, 100));
  REQUIRE(table.default_route() != nullptr);
  CHECK(table.default_route()->name == "eth0");
  table.apply(link(2, "eth0", false));  // the cable is pulled
  CHECK_FALSE(table.device("eth0")->carrier);
  CHECK(table.default_route()->name == "wwan0");
  table.apply(default_route(3, 700, RTM_DELROUTE));
  CHECK(table.default_route() == nullptr);
  table.apply(link(3, "wwan0", true, RTM_DELLINK));
  CHECK(table.device("wwan0") == nullptr);
}

TEST_CASE("link: cut, bent and random messages change the table or do not, and nothing else happens") {
  const std::string good = link(2, "eth0", true) + default_route(2, 100);
  Random random(Catch::rngSeed());
  for (size_t n = 0; n < good.size(); ++n) LinkTable().apply(std::string_view(good).substr(0, n));
  for (int i = 0; i < 20'000; ++i) {
    std::string bent = good;
    for (int k = 0; k < 4; ++k) bent[random.below(bent.size())] = static_cast<char>(random());
    LinkTable table;
    table.apply(bent);
    CHECK(table.devices().size() <= 2);
  }
}

TEST_CASE("link: a flood of devices stays bounded") {
  LinkTable table;
  for (int i = 1; i < 5000; ++i) table.apply(link(i, "if" + std::to_string(i), true) + default_route(i, static_cast<uint32_t>(i)));
  CHECK(table.devices().size() == 1024);
}

TEST_CASE("link: the kernel of this machine tells of its loopback, and of no device that is not there") {
  test::SimClock clock;
  auto watch = LinkWatch::open(clock);
  if (!watch.ok()) {
    WARN("skipped: " << watch.error().message);
    return;
  }
  for (int i = 0; i < 50; ++i) (*watch)->look();
  CHECK((*watch)->facts({.device = "lo"}).up);
  CHECK((*watch)->facts({.device = "lo"}).device == "lo");
  CHECK_FALSE((*watch)->facts({.device = "skerry-none"}).up);
  CHECK((*watch)->facts({}).up);  // nothing is claimed about the routes' own way
}

TEST_CASE("link: battery and temperature come from sysfs, nonsense in it does not") {
  test::TempDir dir;
  test::SimClock clock;
  auto write = [&](const std::string& file, const std::string& text) {
    std::filesystem::create_directories((dir / file).parent_path());
    std::ofstream(dir / file) << text;
  };
  CHECK_FALSE(DeviceProbe(clock, dir.path()).facts().battery);
  write("class/power_supply/BAT0/type", "Battery\n");
  write("class/power_supply/BAT0/capacity", "37\n");
  write("class/power_supply/AC/type", "Mains\n");
  write("class/power_supply/AC/online", "0\n");
  write("class/thermal/thermal_zone0/temp", "48500\n");
  write("class/thermal/thermal_zone1/temp", "-273150000\n");
  DeviceProbe probe(clock, dir.path());
  CHECK(probe.facts().battery == 37);
  CHECK(probe.facts().on_mains == false);
  CHECK(probe.facts().temperature == 48.5);
  write("class/power_supply/BAT0/capacity", "a lot\n");
  CHECK(probe.facts().battery == 37);  // not read anew yet
  clock.advance(std::chrono::seconds(11));
  CHECK_FALSE(probe.facts().battery);
}
