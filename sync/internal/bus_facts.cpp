#include "sync/internal/bus_facts.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace skerry::sync::internal {
namespace {

constexpr const char* kDevice = "org.freedesktop.NetworkManager.Device";
constexpr const char* kModem = "org.freedesktop.ModemManager1.Modem";
constexpr const char* kModem3gpp = "org.freedesktop.ModemManager1.Modem.Modem3gpp";
constexpr const char* kSignal = "org.freedesktop.ModemManager1.Modem.Signal";
constexpr const char* kBearer = "org.freedesktop.ModemManager1.Bearer";

const std::map<std::string, std::set<std::string>> kWanted = {
    {kDevice, {"Interface", "IpInterface", "DeviceType", "Metered", "Ip4Connectivity", "Ip6Connectivity"}},
    {kModem, {"AccessTechnologies", "Ports", "Bearers"}},
    {kModem3gpp, {"RegistrationState", "OperatorName"}},
    {kSignal, {"Rate", "Lte", "Nr5g"}},
    {kBearer, {"Interface", "Connected", "Stats", "Properties"}},
};

constexpr size_t kObjectsMax = 256;
constexpr size_t kBearersMax = 16;       // of one modem
constexpr size_t kNameMax = 64;          // of an operator or an APN
constexpr size_t kDeviceNameMax = 15;    // IFNAMSIZ without its end
constexpr int64_t kNetPort = 2;          // MM_MODEM_PORT_TYPE_NET

constexpr int64_t kLte = 1 << 14, kNr = 1 << 15, kLteM = 1 << 16 | 1 << 17;  // MMModemAccessTechnology; below are 2G and 3G
constexpr int64_t kTechnologies = (1 << 18) - 1;

// Ranges of what a terminal reports: TS 36.133 9.1 and TS 38.133 10.1, the wider of the two.
struct Range {
  double min, max;
};
constexpr Range kRsrp{-156, -31}, kRsrq{-43, 20}, kSnr{-23, 40};

// Reads one object's properties; what cannot be true is named once and not returned.
class Reader {
 public:
  Reader(const BusTable& table, std::string path, std::set<std::string>& nonsense) : table_(table), path_(std::move(path)), nonsense_(nonsense) {}

  std::optional<int64_t> number(const char* interface, const char* property, int64_t max) {
    const auto* value = get<int64_t>(interface, property);
    if (value == nullptr) return {};
    if (*value >= 0 && *value <= max) return *value;
    doubt(interface, property, fmt::format("is {}", *value));
    return {};
  }
  std::string word(const char* interface, const char* property, size_t bytes_max) {
    const auto* value = get<std::string>(interface, property);
    if (value == nullptr) return {};
    return printable(interface, property, *value, bytes_max);
  }
  std::string device(const char* interface, const char* property) {
    std::string name = word(interface, property, kDeviceNameMax);
    return name.find('/') == std::string::npos ? name : "";
  }
  bool flag(const char* interface, const char* property) {
    const auto* value = get<bool>(interface, property);
    return value != nullptr && *value;
  }
  const std::map<std::string, BusScalar>* dictionary(const char* interface, const char* property) {
    return get<std::map<std::string, BusScalar>>(interface, property);
  }
  const std::vector<std::string>* paths(const char* interface, const char* property) { return get<std::vector<std::string>>(interface, property); }

  std::optional<double> measured(const char* property, const char* key, Range range) {
    const auto* all = dictionary(kSignal, property);
    if (all == nullptr) return {};
    auto found = all->find(key);
    if (found == all->end()) return {};
    const auto* value = std::get_if<double>(&found->second);
    if (value != nullptr && *value >= range.min && *value <= range.max) return *value;
    doubt(kSignal, property, fmt::format("has a {} of {}", key, value ? fmt::format("{}", *value) : "another type"));
    return {};
  }
  std::optional<uint64_t> counted(const char* property, const char* key) {
    const auto* all = dictionary(kBearer, property);
    if (all == nullptr) return {};
    auto found = all->find(key);
    const auto* value = found == all->end() ? nullptr : std::get_if<int64_t>(&found->second);
    if (value == nullptr || *value < 0) return {};
    return static_cast<uint64_t>(*value);
  }

  std::string printable(const char* interface, const char* property, const std::string& text, size_t bytes_max) {
    const bool good = text.size() <= bytes_max && std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= ' ' && c != 127; });
    if (good) return text;
    doubt(interface, property, "is no name");
    return {};
  }

 private:
  template <typename T>
  const T* get(const char* interface, const char* property) {
    const BusValue* value = table_.find(path_, interface, property);
    if (value == nullptr) return nullptr;
    const T* typed = std::get_if<T>(value);
    if (typed == nullptr) doubt(interface, property, "is of another type");
    return typed;
  }
  void doubt(const char* interface, const char* property, const std::string& what) {
    nonsense_.insert(fmt::format("{}.{} of {} {}", interface, property, path_, what));
  }

  const BusTable& table_;
  const std::string path_;
  std::set<std::string>& nonsense_;
};

std::string connectivity_name(std::optional<int64_t> state) {  // NMConnectivityState; 0: not known
  constexpr const char* kNames[] = {"", "none", "portal", "limited", "full"};
  return kNames[static_cast<size_t>(state.value_or(0))];
}

void read_device(Reader object, std::map<std::string, BusFacts>& out) {
  BusFacts facts;
  constexpr int64_t kAnyNumber = 1 << 16;
  const auto type = object.number(kDevice, "DeviceType", kAnyNumber);
  if (type == 1) facts.technology = Technology::ethernet;
  if (type == 2) facts.technology = Technology::wifi;
  if (facts.technology != Technology::unknown) facts.technology_from = "NetworkManager";
  // NMMetered: unknown, yes, no, guess yes, guess no; a guess counts as the thing itself, as NetworkManager's documentation asks.
  const int64_t metered = object.number(kDevice, "Metered", 4).value_or(0);
  if (metered != 0) {
    facts.metered = metered == 1 || metered == 3;
    facts.metered_from = "NetworkManager";
  }
  facts.radio.connectivity = connectivity_name(std::max(object.number(kDevice, "Ip4Connectivity", 4), object.number(kDevice, "Ip6Connectivity", 4)));
  for (const char* property : {"Interface", "IpInterface"}) {  // of a modem the first is its control port, the second carries packets
    if (const std::string name = object.device(kDevice, property); !name.empty()) out[name] = facts;
  }
}

// Which leg there is, the signals say better than the bits: an idle NSA modem keeps to LTE, and some firmware keeps the 5G bit when that leg is gone.
Technology technology_of(Reader& modem) {
  const int64_t bits = modem.number(kModem, "AccessTechnologies", kTechnologies).value_or(0);
  const bool lte_leg = modem.measured("Lte", "rsrp", kRsrp).has_value(), nr_leg = modem.measured("Nr5g", "rsrp", kRsrp).has_value();
  if ((bits & kNr) != 0) {
    const bool lte_bit = (bits & kLte) != 0;
    if (lte_bit && lte_leg && !nr_leg) return Technology::lte;
    return lte_bit || lte_leg ? Technology::nr_nsa : Technology::nr_sa;
  }
  if ((bits & kLteM) != 0) return Technology::lte_m;
  if ((bits & kLte) != 0) return Technology::lte;
  return bits != 0 ? Technology::legacy : Technology::unknown;
}

// MMModem3gppRegistrationState. Those without service for data roam nowhere.
void read_registration(Reader& modem, BusFacts& facts) {
  constexpr const char* kNames[] = {"idle", "home", "searching", "denied", "unknown", "roaming", "home, SMS only", "roaming, SMS only", "emergency only",
                                    "home", "roaming", "restricted to emergencies"};
  const auto state = modem.number(kModem3gpp, "RegistrationState", static_cast<int64_t>(std::size(kNames)) - 1);
  if (!state) return;
  facts.radio.registration = kNames[static_cast<size_t>(*state)];
  if (*state == 1 || *state == 9) facts.roaming = false;
  if (*state == 5 || *state == 10) facts.roaming = true;
}

void read_signal(Reader& modem, BusFacts& facts) {
  const bool nr = facts.technology == Technology::nr_sa || (facts.technology == Technology::nr_nsa && modem.measured("Nr5g", "rsrp", kRsrp));
  const char* leg = nr ? "Nr5g" : "Lte";
  facts.rsrp_dbm = modem.measured(leg, "rsrp", kRsrp);
  facts.rsrq_db = modem.measured(leg, "rsrq", kRsrq);
  facts.snr_db = modem.measured(leg, "snr", kSnr);
}

void join(const BusFacts& modem, BusFacts& device) {  // of what NetworkManager said of the same device, its own part stays
  device.technology = modem.technology != Technology::unknown ? modem.technology : device.technology;
  device.technology_from = modem.technology != Technology::unknown ? "ModemManager" : device.technology_from;
  device.roaming = modem.roaming;
  device.rsrp_dbm = modem.rsrp_dbm;
  device.rsrq_db = modem.rsrq_db;
  device.snr_db = modem.snr_db;
  const std::string connectivity = device.radio.connectivity;
  device.radio = modem.radio;
  device.radio.connectivity = connectivity;
}

void read_bearer(Reader bearer, BusFacts facts, std::map<std::string, BusFacts>& out) {
  const std::string name = bearer.device(kBearer, "Interface");
  if (name.empty() || !bearer.flag(kBearer, "Connected")) return;
  facts.radio.bytes_sent = bearer.counted("Stats", "tx-bytes");
  facts.radio.bytes_received = bearer.counted("Stats", "rx-bytes");
  if (const auto* properties = bearer.dictionary(kBearer, "Properties")) {
    auto apn = properties->find("apn");
    const auto* text = apn == properties->end() ? nullptr : std::get_if<std::string>(&apn->second);
    if (text != nullptr) facts.radio.apn = bearer.printable(kBearer, "Properties", *text, kNameMax);
  }
  join(facts, out[name]);
}

void read_modem(const BusTable& modems, const std::string& path, std::set<std::string>& nonsense, std::map<std::string, BusFacts>& out) {
  Reader modem(modems, path, nonsense);
  BusFacts facts;
  facts.technology = technology_of(modem);
  facts.radio.operator_name = modem.word(kModem3gpp, "OperatorName", kNameMax);
  read_registration(modem, facts);
  read_signal(modem, facts);
  if (const auto* ports = modem.dictionary(kModem, "Ports")) {
    for (const auto& [name, type] : *ports) {
      const auto* number = std::get_if<int64_t>(&type);
      if (number != nullptr && *number == kNetPort && !name.empty() && !modem.printable(kModem, "Ports", name, kDeviceNameMax).empty()) join(facts, out[name]);
    }
  }
  const auto* bearers = modem.paths(kModem, "Bearers");
  for (size_t i = 0; bearers != nullptr && i < std::min(bearers->size(), kBearersMax); ++i) read_bearer(Reader(modems, (*bearers)[i], nonsense), facts, out);
}

}  // namespace

bool bus_interface_wanted(const std::string& interface) { return kWanted.contains(interface); }

bool bus_property_wanted(const std::string& interface, const std::string& property) {
  auto found = kWanted.find(interface);
  return found != kWanted.end() && found->second.contains(property);
}

void BusTable::add(const std::string& path, const std::string& interface) {
  if (!bus_interface_wanted(interface)) return;
  if (objects_.size() < kObjectsMax || objects_.contains(path)) objects_[path][interface];
}

void BusTable::set(const std::string& path, const std::string& interface, const std::string& property, BusValue value) {
  auto object = objects_.find(path);
  if (object == objects_.end() || !bus_property_wanted(interface, property)) return;
  object->second[interface][property] = std::move(value);
}

void BusTable::remove(const std::string& path, const std::string& interface) {
  auto object = objects_.find(path);
  if (object == objects_.end()) return;
  object->second.erase(interface);
  if (object->second.empty()) objects_.erase(object);
}

const BusValue* BusTable::find(const std::string& path, const std::string& interface, const std::string& property) const {
  auto object = objects_.find(path);
  if (object == objects_.end()) return nullptr;
  auto properties = object->second.find(interface);
  if (properties == object->second.end()) return nullptr;
  auto value = properties->second.find(property);
  return value == properties->second.end() ? nullptr : &value->second;
}

std::vector<std::string> BusTable::paths_with(const std::string& interface) const {
  std::vector<std::string> paths;
  for (const auto& [path, interfaces] : objects_) {
    if (interfaces.contains(interface)) paths.push_back(path);
  }
  return paths;
}

std::map<std::string, BusFacts> bus_facts(const BusTable& networks, const BusTable& modems, std::set<std::string>& nonsense) {
  std::map<std::string, BusFacts> out;
  for (const std::string& path : networks.paths_with(kDevice)) read_device(Reader(networks, path, nonsense), out);
  for (const std::string& path : modems.paths_with(kModem)) read_modem(modems, path, nonsense, out);
  return out;
}

std::set<std::string> bearers_of(const BusTable& modems) {
  std::set<std::string> out, unused;
  for (const std::string& path : modems.paths_with(kModem)) {
    const auto* bearers = Reader(modems, path, unused).paths(kModem, "Bearers");
    for (size_t i = 0; bearers != nullptr && i < std::min(bearers->size(), kBearersMax); ++i) {
      if ((*bearers)[i].size() <= 128 && (*bearers)[i].starts_with("/org/freedesktop/ModemManager1/Bearer/")) out.insert((*bearers)[i]);
    }
  }
  return out;
}

std::vector<std::string> silent_signals(const BusTable& modems) {
  std::vector<std::string> out;
  std::set<std::string> unused;
  for (const std::string& path : modems.paths_with(kSignal)) {
    if (Reader(modems, path, unused).number(kSignal, "Rate", UINT32_MAX) == 0) out.push_back(path);
  }
  return out;
}

}  // namespace skerry::sync::internal
