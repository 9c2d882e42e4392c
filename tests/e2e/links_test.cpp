// The real skerryd on a bus of its own: what NetworkManager and ModemManager say of a bearer's device is shown per bearer, with who said so, and
// follows them when they come and go.
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/e2e/support/gateway.h"
#include "tests/support/fake_modem.h"
#include "tests/support/private_bus.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::e2e;
using test::FakeNetwork;
using test::FakeScalar;

namespace {

using nlohmann::json;

json bearer_of(http::Client& client) {
  auto answer = client.request("GET", "/v1/sync", "");
  REQUIRE(answer.ok());
  return json::parse(answer->body)["bearers"][0];
}

bool until(http::Client& client, const std::function<bool(const json&)>& holds) {
  for (int i = 0; i < 3000; ++i) {
    if (holds(bearer_of(client))) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

}  // namespace

TEST_CASE("links: a bearer shows its technology, signal, tariff, and who says so") {
  auto bus = test::PrivateBus::start();
  if (!bus.ok()) {
    std::cout << "SKIPPED: " << bus.error().message << "\n";
    return;
  }
  auto networks = FakeNetwork::network_manager(bus.value()->address());
  auto modems = FakeNetwork::modem_manager(bus.value()->address());
  REQUIRE(networks.ok());
  REQUIRE(modems.ok());
  // The only device that every machine has plays the modem's.
  networks.value()->set(FakeNetwork::kMobile, "org.freedesktop.NetworkManager.Device", "IpInterface", FakeScalar(std::string("lo")));
  modems.value()->set(FakeNetwork::kBearer, "org.freedesktop.ModemManager1.Bearer", "Interface", FakeScalar(std::string("lo")), false);

  test::TempDir folder;
  Daemon daemon(folder.path(), {.hub = fmt::format("http://127.0.0.1:{}", free_port()), .more = "[[sync.bearer]]\nname = \"mobile\"\ndevice = \"lo\"\n"});
  ::setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.value()->address().c_str(), 1);
  const Status started = daemon.start();
  ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
  INFO((started.ok() ? "" : started.error().message));
  REQUIRE(started.ok());
  auto client = http::Client::open(daemon.url(), {.timeout = milliseconds(10'000)});
  REQUIRE(client.ok());
  REQUIRE(until(**client, [](const json& b) { return b["technology"] == "5g-sa" && b["metered"] == true && b["apn"] == "iot.example"; }));
  const json bearer = bearer_of(**client);
  CHECK(bearer["technology_from"] == "ModemManager");
  CHECK(bearer["metered_from"] == "NetworkManager");
  CHECK(bearer["roaming"] == false);
  CHECK(bearer["rsrp_dbm"] == -95);
  CHECK(bearer["rsrq_db"] == -11);
  CHECK(bearer["snr_db"] == 12.5);
  CHECK(bearer["registration"] == "home");
  CHECK(bearer["operator"] == "Test PLMN");
  CHECK(bearer["connectivity"] == "full");
  CHECK(bearer["modem_bytes_sent"] == 70'000);

  auto said = run_program("skerry", {"sync", "--url", daemon.url()}, folder.path(), milliseconds(20'000));
  REQUIRE(said.ok());
  INFO(said->output);
  CHECK(said->output.find("bearer  mobile: offline, 5g-sa") != std::string::npos);
  CHECK(said->output.find("over lo: 5g-sa says ModemManager, registered: home with Test PLMN, APN iot.example, RSRP -95 dBm, RSRQ -11 dB, SNR 12.5 dB, "
                          "metered says NetworkManager, connectivity: full") != std::string::npos);

  modems.value().reset();
  REQUIRE(until(**client, [](const json& b) { return b["technology"] == "unknown"; }));
  CHECK(bearer_of(**client)["metered"] == true);
  auto exit = daemon.terminate();
  REQUIRE(exit.has_value());
  CHECK(exit->text() == "exit code 0");
}
