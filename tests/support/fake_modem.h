// NetworkManager and ModemManager as far as Skerry asks them, on a bus of the test's own: objects with properties that the test sets, to good
// values or to nonsense.
// Threads: one of its own answers the bus; every method may be called from any and is on the bus when it returns.
// Owns: its connection to the bus, closed with it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace skerry::test {

using FakeScalar = std::variant<bool, int32_t, uint32_t, uint64_t, double, std::string>;
struct FakeObjectPaths {
  std::vector<std::string> paths;
};
struct FakePorts {
  std::vector<std::pair<std::string, uint32_t>> ports;
};
using FakeDictionary = std::map<std::string, FakeScalar>;
using FakeValue = std::variant<FakeScalar, FakeObjectPaths, FakePorts, FakeDictionary>;

class FakeService {
 public:
  // unavailable: no bus there, or somebody has the name.
  static Result<std::unique_ptr<FakeService>> start(const std::string& bus_address, std::string name, std::string root);
  ~FakeService();  // the name vanishes from the bus
  FakeService(const FakeService&) = delete;
  FakeService& operator=(const FakeService&) = delete;

  // `listed`: in the answer of the object manager, and announced when the object is new. Changes are signalled.
  void set(const std::string& path, const std::string& interface, const std::string& property, FakeValue value, bool listed = true);
  void remove(const std::string& path);
  void flood(const std::string& path, const std::string& interface, const std::string& property, FakeValue value, size_t signals);
  void hang(bool hangs);                             // takes calls, never answers
  void garbage(bool garbles);                        // answers, with something else
  uint64_t calls(const std::string& method) const;   // that were made of it

 private:
  struct Impl;
  explicit FakeService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One of each, with a device eth0 and a modem wwan0 on 5G SA at home.
struct FakeNetwork {
  static constexpr const char* kEthernet = "/org/freedesktop/NetworkManager/Devices/1";
  static constexpr const char* kMobile = "/org/freedesktop/NetworkManager/Devices/2";
  static constexpr const char* kModem = "/org/freedesktop/ModemManager1/Modem/0";
  static constexpr const char* kBearer = "/org/freedesktop/ModemManager1/Bearer/0";
  static Result<std::unique_ptr<FakeService>> network_manager(const std::string& bus_address);
  static Result<std::unique_ptr<FakeService>> modem_manager(const std::string& bus_address);
  static void set_technology(FakeService& modems, uint32_t bits);
  static void set_signal(FakeService& modems, const std::string& leg, FakeDictionary values);
};

}  // namespace skerry::test
