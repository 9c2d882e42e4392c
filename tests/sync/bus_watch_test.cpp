// NetworkManager and ModemManager come, change, go, hang, flood and lie; the watch knows what can be known and never waits.
#include "sync/bus_watch.h"

#include <catch2/catch.hpp>

#include <functional>
#include <iostream>
#include <thread>

#include "base/random.h"
#include "sync/internal/bus_facts.h"
#include "tests/support/fake_modem.h"
#include "tests/support/private_bus.h"
#include "tests/support/sim_clock.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::internal;
using skerry::test::FakeDictionary;
using skerry::test::FakeNetwork;
using skerry::test::FakeScalar;
using std::chrono::seconds;

namespace {

constexpr uint32_t kLte = 1 << 14, kNr = 1 << 15;
constexpr const char* kModemInterface = "org.freedesktop.ModemManager1.Modem";
constexpr const char* k3gpp = "org.freedesktop.ModemManager1.Modem.Modem3gpp";

struct Island {
  std::unique_ptr<test::PrivateBus> bus;
  test::SimClock clock;
  std::unique_ptr<test::FakeService> networks, modems;
  std::unique_ptr<BusWatch> watch;

  // False, said aloud: there is no dbus-daemon on this machine.
  bool start() {
    auto started = test::PrivateBus::start();
    if (!started.ok()) {
      std::cout << "SKIPPED: " << started.error().message << "\n";
      return false;
    }
    bus = *std::move(started);
    watch = BusWatch::make(clock, bus->address());
    return true;
  }
  void start_services() {
    auto n = FakeNetwork::network_manager(bus->address());
    auto m = FakeNetwork::modem_manager(bus->address());
    REQUIRE(n.ok());
    REQUIRE(m.ok());
    networks = *std::move(n);
    modems = *std::move(m);
  }
  LinkFacts of(const std::string& device) const {
    LinkFacts link;
    link.device = device;
    watch->add_to(link);
    return link;
  }
  LinkFacts wwan() const { return of("wwan0"); }
  bool until(const std::function<bool()>& holds) {
    for (int i = 0; i < 4000; ++i) {
      watch->look();
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  bool until_known() {
    return until([&] {
      const LinkFacts w = wwan(), e = of("eth0");
      return w.technology != Technology::unknown && w.metered && w.rsrp_dbm && w.roaming && !w.radio.apn.empty() && !w.radio.operator_name.empty() &&
             !w.radio.connectivity.empty() && e.metered && !e.radio.connectivity.empty() && modems->calls("Setup") == 1;
    });
  }
};

}  // namespace

TEST_CASE("bus: a modem's technology, signal, registration and bearer, and what NetworkManager takes for metered") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  const LinkFacts wwan = island.wwan(), eth = island.of("eth0");
  CHECK(wwan.technology == Technology::nr_sa);
  CHECK(wwan.technology_from == "ModemManager");
  CHECK(wwan.metered == true);
  CHECK(wwan.metered_from == "NetworkManager");
  CHECK(wwan.roaming == false);
  CHECK(wwan.rsrp_dbm == -95);
  CHECK(wwan.rsrq_db == -11);
  CHECK(wwan.snr_db == 12.5);
  CHECK(wwan.radio.registration == "home");
  CHECK(wwan.radio.operator_name == "Test PLMN");
  CHECK(wwan.radio.apn == "iot.example");
  CHECK(wwan.radio.connectivity == "full");
  CHECK(wwan.radio.bytes_sent == 70'000);
  CHECK(wwan.radio.bytes_received == 9'000);
  CHECK(eth.technology == Technology::ethernet);
  CHECK(eth.metered == false);
  CHECK_FALSE(eth.roaming);
  CHECK(island.of("eth1").technology == Technology::unknown);
  CHECK_FALSE(island.of("").metered);
  CHECK(island.modems->calls("Setup") == 1);  // nobody had asked the modem to measure
}

TEST_CASE("bus: a radio that changes is followed; what idles in NSA does not count as a change of the link") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  auto becomes = [&](uint32_t bits, Technology technology) {
    island.clock.advance(seconds(100));
    FakeNetwork::set_technology(*island.modems, bits);
    return island.until([&] { return island.wwan().technology == technology; });
  };
  const SteadyTime begun = island.wwan().stable_since;
  CHECK(becomes(kLte, Technology::lte));
  const SteadyTime at_lte = island.wwan().stable_since;
  CHECK(at_lte > begun);
  CHECK(becomes(kLte | kNr, Technology::nr_nsa));
  CHECK(island.wwan().stable_since == at_lte);
  CHECK(becomes(1 << 5, Technology::legacy));
  CHECK(island.wwan().stable_since > at_lte);
  CHECK(becomes(1 << 17, Technology::lte_m));

  island.modems->set(FakeNetwork::kModem, k3gpp, "RegistrationState", FakeScalar(5u));
  CHECK(island.until([&] { return island.wwan().roaming == true; }));
  CHECK(island.wwan().radio.registration == "roaming");
  CHECK(becomes(kNr, Technology::nr_sa));
  FakeNetwork::set_signal(*island.modems, "Lte", {{"rsrp", -101.0}});
  CHECK(island.until([&] { return island.wwan().technology == Technology::nr_nsa; }));  // both legs are heard, whatever the bits say
}

TEST_CASE("bus: a modem that jumps without end holds nothing back for ever") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  SteadyTime last{};
  for (int i = 0; i < 20; ++i) {
    island.clock.advance(std::chrono::milliseconds(500));
    const bool lte = i % 2 == 0;
    FakeNetwork::set_technology(*island.modems, lte ? kLte : 1 << 5);
    REQUIRE(island.until([&] { return island.wwan().technology == (lte ? Technology::lte : Technology::legacy); }));
    if (i == 9) last = island.wwan().stable_since;
  }
  CHECK(island.wwan().stable_since == last);
}

TEST_CASE("bus: services appear, vanish and return; what costs money is remembered meanwhile, what is measured is not") {
  Island island;
  if (!island.start()) return;
  for (int i = 0; i < 20; ++i) island.watch->look();
  CHECK_FALSE(island.wwan().metered);
  island.start_services();  // later than the watch
  REQUIRE(island.until_known());
  island.modems->set(FakeNetwork::kModem, k3gpp, "RegistrationState", FakeScalar(5u));
  REQUIRE(island.until([&] { return island.wwan().roaming == true; }));

  island.modems.reset();
  REQUIRE(island.until([&] { return island.wwan().technology == Technology::unknown; }));
  CHECK_FALSE(island.wwan().rsrp_dbm);
  CHECK(island.wwan().roaming == true);
  island.networks.reset();
  REQUIRE(island.until([&] { return island.wwan().metered_from == "NetworkManager, when it was there"; }));
  CHECK(island.wwan().metered == true);
  CHECK(island.of("eth0").metered == false);

  {  // back, and without its modem yet
    auto empty = test::FakeService::start(island.bus->address(), "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1");
    REQUIRE(empty.ok());
    REQUIRE(island.until([&] { return empty.value()->calls("GetManagedObjects") == 1; }));
    for (int i = 0; i < 20; ++i) island.watch->look();
    CHECK(island.wwan().roaming == true);
  }
  island.start_services();
  REQUIRE(island.until([&] {
    return island.wwan().metered_from == "NetworkManager" && island.wwan().technology == Technology::nr_sa && island.wwan().roaming == false;
  }));
}

TEST_CASE("bus: a device that is unplugged is forgotten") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  island.modems->remove(FakeNetwork::kModem);
  island.networks->remove(FakeNetwork::kMobile);
  CHECK(island.until([&] { return island.wwan().technology == Technology::unknown && !island.wwan().metered; }));
  CHECK(island.of("eth0").technology == Technology::ethernet);
}

TEST_CASE("bus: no bus, a bus that dies, and one that comes back") {
  Island island;
  if (!island.start()) return;
  island.bus->kill9();
  for (int i = 0; i < 10; ++i) island.watch->look();
  CHECK(island.wwan().technology == Technology::unknown);
  REQUIRE(island.bus->start_again().ok());
  island.start_services();
  island.clock.advance(seconds(15));
  REQUIRE(island.until_known());

  island.bus->kill9();
  REQUIRE(island.until([&] { return island.wwan().technology == Technology::unknown; }));
  CHECK(island.wwan().metered == true);
  island.modems.reset();
  island.networks.reset();
  REQUIRE(island.bus->start_again().ok());
  island.start_services();
  island.clock.advance(seconds(15));
  CHECK(island.until([&] { return island.wwan().metered_from == "NetworkManager" && island.wwan().technology == Technology::nr_sa; }));
}

TEST_CASE("bus: nonsense makes no fact, and what is good beside it stays") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  FakeNetwork::set_signal(*island.modems, "Nr5g", {{"rsrp", 95.0}, {"rsrq", std::string("strong")}, {"snr", 1e308}});
  REQUIRE(island.until([&] { return !island.wwan().rsrp_dbm; }));
  CHECK_FALSE(island.wwan().rsrq_db);
  CHECK_FALSE(island.wwan().snr_db);
  CHECK(island.wwan().technology == Technology::nr_sa);
  island.modems->set(FakeNetwork::kModem, k3gpp, "RegistrationState", FakeScalar(4711u));
  REQUIRE(island.until([&] { return !island.wwan().roaming; }));
  FakeNetwork::set_technology(*island.modems, 0xFFFFFFFF);
  REQUIRE(island.until([&] { return island.wwan().technology == Technology::unknown; }));
  island.modems->set(FakeNetwork::kModem, kModemInterface, "AccessTechnologies", FakeScalar(std::string("5g")));
  island.modems->set(FakeNetwork::kModem, kModemInterface, "Bearers", FakeScalar(-3));
  island.modems->set(FakeNetwork::kModem, kModemInterface, "Ports", test::FakePorts{{{"../../etc/passwd", 2}, {"", 2}, {"wwan0", 77}}});
  island.networks->set(FakeNetwork::kMobile, "org.freedesktop.NetworkManager.Device", "Metered", FakeScalar(99u));
  REQUIRE(island.until([&] { return !island.wwan().metered; }));
  island.networks->set(FakeNetwork::kMobile, "org.freedesktop.NetworkManager.Device", "IpInterface", FakeScalar(std::string(100'000, 'x')));
  FakeNetwork::set_technology(*island.modems, kLte);
  island.modems->set(FakeNetwork::kModem, kModemInterface, "Ports", test::FakePorts{{{"wwan0", 2}}});
  CHECK(island.until([&] { return island.wwan().technology == Technology::lte; }));
}

TEST_CASE("bus: one that hangs or answers something else is asked again later") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  const bool hangs = GENERATE(true, false);
  hangs ? island.modems->hang(true) : island.modems->garbage(true);
  REQUIRE(island.until([&] { return island.of("eth0").metered.has_value() && island.modems->calls("GetManagedObjects") == 1; }));
  CHECK(island.wwan().technology == Technology::unknown);
  CHECK(island.wwan().metered == true);  // the other one is not held up
  hangs ? island.modems->hang(false) : island.modems->garbage(false);
  island.clock.advance(seconds(30));
  CHECK(island.until([&] { return island.wwan().technology == Technology::nr_sa; }));
}

TEST_CASE("bus: a flood costs a bounded piece at a time, then the bus is left alone for a while") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  island.modems->flood(FakeNetwork::kModem, kModemInterface, "AccessTechnologies", FakeScalar(kLte), 3'000);
  REQUIRE(island.until([&] { return island.wwan().technology == Technology::lte; }));  // much, but not too much
  island.clock.advance(seconds(10));
  island.modems->flood(FakeNetwork::kModem, kModemInterface, "AccessTechnologies", FakeScalar(kNr), 15'000);
  REQUIRE(island.until([&] { return island.wwan().metered_from == "NetworkManager, when it was there"; }));
  for (int i = 0; i < 10; ++i) island.watch->look();
  CHECK(island.wwan().technology == Technology::unknown);
  island.clock.advance(seconds(60));
  CHECK(island.until([&] { return island.wwan().technology == Technology::nr_sa && island.wwan().metered_from == "NetworkManager"; }));
}

TEST_CASE("bus: nobody but the owner of the name is believed") {
  Island island;
  if (!island.start()) return;
  island.start_services();
  REQUIRE(island.until_known());
  auto stranger = test::FakeService::start(island.bus->address(), "org.example.Stranger", "/");
  REQUIRE(stranger.ok());
  stranger.value()->flood(FakeNetwork::kModem, kModemInterface, "AccessTechnologies", FakeScalar(kLte), 1);
  stranger.value()->flood(FakeNetwork::kMobile, "org.freedesktop.NetworkManager.Device", "Metered", FakeScalar(2u), 1);
  island.modems->set(FakeNetwork::kModem, k3gpp, "OperatorName", FakeScalar(std::string("Later")));
  REQUIRE(island.until([&] { return island.wwan().radio.operator_name == "Later"; }));
  CHECK(island.wwan().technology == Technology::nr_sa);
  CHECK(island.wwan().metered == true);
}

TEST_CASE("bus: whatever the table holds, what comes out is within its ranges") {
  Random random(Catch::rngSeed());
  auto scalar = [&]() -> BusScalar {
    switch (random.below(5)) {
      case 0: return random.chance(0.5);
      case 1: return static_cast<int64_t>(random()) >> random.below(64);
      case 2: return random.normal() * std::pow(10, static_cast<double>(random.below(6)));
      case 3: return std::string(random.below(80), static_cast<char>(random.below(256)));
      default: return std::monostate{};
    }
  };
  auto value = [&]() -> BusValue {
    BusValue out;
    const uint64_t sort = random.below(4);
    if (sort == 0) {
      out = std::vector<std::string>{"/org/freedesktop/ModemManager1/Bearer/0", "/x"};
    } else if (sort == 1) {
      std::map<std::string, BusScalar> all;
      for (const char* key : {"rsrp", "rsrq", "snr", "tx-bytes", "apn", "wwan0"}) all[key] = scalar();
      out = all;
    } else {
      std::visit([&](auto&& v) { out = v; }, scalar());
    }
    return out;
  };
  for (int i = 0; i < 20'000; ++i) {
    BusTable networks, modems;
    networks.add("/n", "org.freedesktop.NetworkManager.Device");
    for (const char* p : {"Interface", "IpInterface", "DeviceType", "Metered", "Ip4Connectivity", "Ip6Connectivity"}) {
      networks.set("/n", "org.freedesktop.NetworkManager.Device", p, value());
    }
    modems.add("/m", kModemInterface);
    modems.add("/org/freedesktop/ModemManager1/Bearer/0", "org.freedesktop.ModemManager1.Bearer");
    for (const char* p : {"AccessTechnologies", "Ports", "Bearers"}) modems.set("/m", kModemInterface, p, value());
    for (const char* p : {"RegistrationState", "OperatorName"}) modems.set("/m", k3gpp, p, value());
    for (const char* p : {"Rate", "Lte", "Nr5g"}) modems.set("/m", "org.freedesktop.ModemManager1.Modem.Signal", p, value());
    for (const char* p : {"Interface", "Connected", "Stats", "Properties"}) {
      modems.set("/org/freedesktop/ModemManager1/Bearer/0", "org.freedesktop.ModemManager1.Bearer", p, value());
    }
    std::set<std::string> nonsense;
    for (const auto& [device, facts] : bus_facts(networks, modems, nonsense)) {
      CHECK(device.size() <= 15);
      if (facts.rsrp_dbm) CHECK((*facts.rsrp_dbm >= -156 && *facts.rsrp_dbm <= -31));
      if (facts.snr_db) CHECK((*facts.snr_db >= -23 && *facts.snr_db <= 40));
      CHECK(facts.radio.operator_name.size() <= 64);
    }
  }
}
