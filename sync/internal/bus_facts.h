// What NetworkManager and ModemManager said, as a table of objects, and what follows from it per network device. No bus in here: pure.
// Names, types and numbers are those of NetworkManager's and ModemManager's D-Bus interfaces (1.42 and 1.20).
// On failure: a value of a wrong type or out of its range makes no fact and is named in `nonsense`.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "sync/link.h"

namespace skerry::sync::internal {

using BusScalar = std::variant<std::monostate, bool, int64_t, double, std::string>;
// A scalar, a list of object paths, or a dictionary. monostate: of a type that nothing here asks for.
using BusValue = std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<std::string>, std::map<std::string, BusScalar>>;

bool bus_interface_wanted(const std::string& interface);
bool bus_property_wanted(const std::string& interface, const std::string& property);

// Objects of one service. Holds at most a few hundred, of wanted properties alone.
class BusTable {
 public:
  bool contains(const std::string& path) const { return objects_.contains(path); }
  void add(const std::string& path, const std::string& interface);  // may refuse silently: full
  void set(const std::string& path, const std::string& interface, const std::string& property, BusValue value);  // of what was added
  void remove(const std::string& path) { objects_.erase(path); }
  void remove(const std::string& path, const std::string& interface);
  void clear() { objects_.clear(); }
  const BusValue* find(const std::string& path, const std::string& interface, const std::string& property) const;
  std::vector<std::string> paths_with(const std::string& interface) const;

 private:
  using Properties = std::map<std::string, BusValue>;
  std::map<std::string, std::map<std::string, Properties>> objects_;
};

struct BusFacts {  // of one network device
  Technology technology = Technology::unknown;
  std::string technology_from, metered_from;
  std::optional<bool> metered, roaming;
  bool metered_remembered = false, roaming_remembered = false;  // said by a service that went since
  std::optional<double> rsrp_dbm, rsrq_db, snr_db;
  RadioFacts radio;
};

std::map<std::string, BusFacts> bus_facts(const BusTable& networks, const BusTable& modems, std::set<std::string>& nonsense);

// Bearers that a modem names, and modems that could report signal values and were not told to.
std::set<std::string> bearers_of(const BusTable& modems);
std::vector<std::string> silent_signals(const BusTable& modems);

}  // namespace skerry::sync::internal
