// What is known of a way to the hub: facts about one bearer (a network device, or whatever the routes say), each optional. Kernel, NetworkManager
// and ModemManager are priors; what the transport measured itself (goodput, RTT) overrules them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace skerry::sync {

enum class Technology : uint8_t { unknown, ethernet, wifi, legacy, lte_m, lte, nr_nsa, nr_sa, satellite };  // legacy: 2G and 3G; lte_m: with NB-IoT
inline const char* to_string(Technology technology) {
  constexpr const char* kNames[] = {"unknown", "ethernet", "wifi", "2g-3g", "lte-m", "lte", "5g-nsa", "5g-sa", "satellite"};
  return kNames[static_cast<size_t>(technology)];
}

// What NetworkManager and ModemManager tell beyond what rules ask for: shown only. Empty: not known.
struct RadioFacts {
  std::string registration;             // "home", "roaming", "searching", ...
  std::string operator_name, apn;
  std::string connectivity;             // "none", "portal", "limited" or "full", as NetworkManager's own probe found
  std::optional<uint64_t> bytes_sent, bytes_received;  // of the modem's bearer since it was connected, as the modem counts
};

struct LinkFacts {
  bool up = true;                       // there is a carrier and a route; true when nobody knows
  std::string device;                   // "wwan0"; empty: not known
  Technology technology = Technology::unknown;
  std::optional<bool> metered, constrained, roaming;
  std::optional<double> rsrp_dbm, rsrq_db, snr_db;
  std::string technology_from, metered_from;  // who said so; empty: nobody did
  RadioFacts radio;
  SteadyTime stable_since{};            // technology or carrier changed last
  // Measured by the exchanges themselves:
  double goodput = 0, goodput_low = 0;  // bytes of bodies per second: mean, and a low quantile; 0: not known yet
  Duration rtt{0}, rtt_min{0};          // of small exchanges
  Duration last_outage{0};
  uint64_t outages = 0;
};

}  // namespace skerry::sync
