#include "sync/bus_watch.h"

#include <systemd/sd-bus.h>

#include <cstring>
#include <functional>
#include <mutex>

#include "base/log.h"
#include "sync/internal/bus_facts.h"

namespace skerry::sync {
namespace {

using internal::BusFacts;
using internal::BusScalar;
using internal::BusTable;
using internal::BusValue;

constexpr int kMessagesPerLook = 256;
constexpr int kMessagesPerWindow = 10'000;                       // more than anything honest has to say
constexpr Duration kFloodWindow = std::chrono::seconds(10);
constexpr Duration kAfterFlood = std::chrono::minutes(1);
constexpr Duration kReconnect = std::chrono::seconds(15);
constexpr Duration kAskAgain = std::chrono::seconds(30);         // a service that did not answer, or answered nonsense
constexpr uint64_t kAnswerMicroseconds = 10'000'000;
constexpr uint32_t kSignalSeconds = 10;                          // how often a modem measures
constexpr size_t kEntriesMax = 64;                               // of a dictionary or a list
constexpr size_t kAskedMax = 256;                                // bearers and modems, of one owner of the name
constexpr size_t kDevicesMax = 256;
constexpr size_t kSaidMax = 64;
constexpr uint32_t kChangesPerMinute = 6;                        // of a device's technology, before it holds nothing back any longer

constexpr const char* kBusName = "org.freedesktop.DBus";
constexpr const char* kBusPath = "/org/freedesktop/DBus";
constexpr const char* kProperties = "org.freedesktop.DBus.Properties";
constexpr const char* kObjectManager = "org.freedesktop.DBus.ObjectManager";
constexpr const char* kBearer = "org.freedesktop.ModemManager1.Bearer";
constexpr const char* kSignal = "org.freedesktop.ModemManager1.Modem.Signal";

// ------------------------------------------------------------------ reading messages; false: not what its signature says

bool read_scalar(sd_bus_message* m, char type, BusScalar& out) {
  union {
    int b;
    uint8_t y;
    int16_t n;
    uint16_t q;
    int32_t i;
    uint32_t u;
    int64_t x;
    uint64_t t;
    double d;
    const char* s;
  } v{};
  if (sd_bus_message_read_basic(m, type, &v) < 0) return false;
  switch (type) {
    case 'b': out = v.b != 0; break;
    case 'y': out = static_cast<int64_t>(v.y); break;
    case 'n': out = static_cast<int64_t>(v.n); break;
    case 'q': out = static_cast<int64_t>(v.q); break;
    case 'i': out = static_cast<int64_t>(v.i); break;
    case 'u': out = static_cast<int64_t>(v.u); break;
    case 'x': out = v.x; break;
    case 't':
      if (v.t <= INT64_MAX) out = static_cast<int64_t>(v.t);
      break;
    case 'd': out = v.d; break;
    case 's':
    case 'o': out = std::string(v.s, std::min<size_t>(std::strlen(v.s), 256)); break;
    default: return false;
  }
  return true;
}

bool is_scalar(const char* contents) { return contents != nullptr && std::strlen(contents) == 1 && std::strchr("bynqiuxtdso", contents[0]) != nullptr; }

// What a variant holds, when it is a scalar; else it is passed over.
bool read_variant(sd_bus_message* m, BusScalar& out) {
  char type = 0;
  const char* contents = nullptr;
  if (sd_bus_message_peek_type(m, &type, &contents) <= 0 || type != 'v') return false;
  if (!is_scalar(contents)) return sd_bus_message_skip(m, "v") >= 0;
  const char kind = contents[0];
  return sd_bus_message_enter_container(m, 'v', std::string(1, kind).c_str()) > 0 && read_scalar(m, kind, out) && sd_bus_message_exit_container(m) >= 0;
}

bool read_dictionary(sd_bus_message* m, std::map<std::string, BusScalar>& out) {  // a{sv}
  if (sd_bus_message_enter_container(m, 'a', "{sv}") <= 0) return false;
  int more = 0;
  while ((more = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
    const char* key = nullptr;
    BusScalar value;
    if (sd_bus_message_read(m, "s", &key) <= 0 || !read_variant(m, value) || sd_bus_message_exit_container(m) < 0) return false;
    if (out.size() < kEntriesMax) out[std::string(key).substr(0, 64)] = std::move(value);
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

bool read_ports(sd_bus_message* m, std::map<std::string, BusScalar>& out) {  // a(su)
  if (sd_bus_message_enter_container(m, 'a', "(su)") <= 0) return false;
  const char* name = nullptr;
  uint32_t type = 0;
  int more = 0;
  while ((more = sd_bus_message_read(m, "(su)", &name, &type)) > 0) {
    if (out.size() < kEntriesMax) out[std::string(name).substr(0, 64)] = static_cast<int64_t>(type);
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

bool read_paths(sd_bus_message* m, std::vector<std::string>& out) {  // ao
  if (sd_bus_message_enter_container(m, 'a', "o") <= 0) return false;
  const char* path = nullptr;
  int more = 0;
  while ((more = sd_bus_message_read_basic(m, 'o', &path)) > 0) {
    if (out.size() < kEntriesMax) out.emplace_back(path);
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

bool read_value(sd_bus_message* m, BusValue& out) {
  char type = 0;
  const char* inside = nullptr;
  if (sd_bus_message_peek_type(m, &type, &inside) <= 0 || type != 'v' || inside == nullptr) return false;
  const std::string contents = inside;
  if (is_scalar(contents.c_str())) {
    BusScalar scalar;
    if (!read_variant(m, scalar)) return false;
    std::visit([&](auto& value) { out = std::move(value); }, scalar);
    return true;
  }
  auto within = [&](auto read, auto value) {
    if (sd_bus_message_enter_container(m, 'v', contents.c_str()) <= 0 || !read(m, value)) return false;
    out = std::move(value);
    return sd_bus_message_exit_container(m) >= 0;
  };
  if (contents == "a{sv}") return within(read_dictionary, std::map<std::string, BusScalar>());
  if (contents == "a(su)") return within(read_ports, std::map<std::string, BusScalar>());
  if (contents == "ao") return within(read_paths, std::vector<std::string>());
  return sd_bus_message_skip(m, "v") >= 0;
}

bool read_properties(sd_bus_message* m, const std::string& path, const std::string& interface, BusTable& table) {  // a{sv}
  if (sd_bus_message_enter_container(m, 'a', "{sv}") <= 0) return false;
  int more = 0;
  while ((more = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
    const char* name = nullptr;
    if (sd_bus_message_read(m, "s", &name) <= 0) return false;
    if (internal::bus_property_wanted(interface, name)) {
      BusValue value;
      const std::string property = name;
      if (!read_value(m, value)) return false;
      table.set(path, interface, property, std::move(value));
    } else if (sd_bus_message_skip(m, "v") < 0) {
      return false;
    }
    if (sd_bus_message_exit_container(m) < 0) return false;
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

bool read_interfaces(sd_bus_message* m, const std::string& path, BusTable& table) {  // a{sa{sv}}
  if (sd_bus_message_enter_container(m, 'a', "{sa{sv}}") <= 0) return false;
  int more = 0;
  while ((more = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
    const char* name = nullptr;
    if (sd_bus_message_read(m, "s", &name) <= 0) return false;
    const std::string interface = name;
    table.add(path, interface);
    const bool good = internal::bus_interface_wanted(interface) ? read_properties(m, path, interface, table) : sd_bus_message_skip(m, "a{sv}") >= 0;
    if (!good || sd_bus_message_exit_container(m) < 0) return false;
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

bool read_objects(sd_bus_message* m, BusTable& table) {  // a{oa{sa{sv}}}
  if (sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}") <= 0) return false;
  int more = 0;
  while ((more = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
    const char* path = nullptr;
    if (sd_bus_message_read(m, "o", &path) <= 0 || !read_interfaces(m, std::string(path), table) || sd_bus_message_exit_container(m) < 0) return false;
  }
  return more == 0 && sd_bus_message_exit_container(m) >= 0;
}

// ------------------------------------------------------------------ the watch

class SystemBus;

// One of the two: who owns its name now, and its objects.
struct Service {
  SystemBus& bus;
  const char* title;
  const char* name;
  const char* root;                     // of its object manager
  std::vector<const char*> interfaces;  // whose changes are of interest
  std::string owner = {};               // its unique name; empty: not there
  bool known = false;                   // its objects were read
  std::optional<SteadyTime> ask_at = {};
  uint64_t objects_call = 0;            // the newest
  BusTable table = {};
  std::map<uint64_t, std::string> bearer_calls = {};  // cookie of the call to path
  std::set<std::string> asked = {};
};

class SystemBus final : public BusWatch {
 public:
  SystemBus(const Clock& clock, std::string address) : clock_(clock), address_(std::move(address)), connect_at_(clock.steady()) {}
  ~SystemBus() override { close(); }

  void look() override {
    const SteadyTime now = clock_.steady();
    if (bus_ == nullptr && now < connect_at_) return;
    if (bus_ == nullptr && !connect()) return;
    int n = 0;
    for (; n < kMessagesPerLook; ++n) {
      const int result = sd_bus_process(bus_, nullptr);
      if (result < 0) return lost(result);
      if (result == 0) break;
    }
    if (now >= window_ + kFloodWindow) {
      window_ = now;
      messages_ = 0;
    }
    messages_ += n;
    if (messages_ >= kMessagesPerWindow) return flooded();
    for (Service* service : {&networks_, &modems_}) {
      if (service->ask_at && now >= *service->ask_at) ask_objects(*service);
    }
    if (!changed_) return;
    ask_bearers();
    ask_signals();
    publish();
  }

  void add_to(LinkFacts& link) const override {
    std::lock_guard lock(mutex_);
    auto found = published_.find(link.device);
    if (link.device.empty() || found == published_.end()) return;
    const BusFacts& said = found->second.facts;
    if (said.technology != Technology::unknown) {
      link.technology = said.technology;
      link.technology_from = said.technology_from;
    }
    if (said.metered) {
      link.metered = said.metered;
      link.metered_from = said.metered_from;
    }
    if (said.roaming) link.roaming = said.roaming;
    link.rsrp_dbm = said.rsrp_dbm;
    link.rsrq_db = said.rsrq_db;
    link.snr_db = said.snr_db;
    link.radio = said.radio;
    link.stable_since = std::max(link.stable_since, found->second.since);
  }

 private:
  struct Published {
    BusFacts facts;
    SteadyTime since{};          // of the technology
    SteadyTime minute{};         // in which changes are counted
    uint32_t changes = 0;
  };

  // ---------------------------------------------------------------- the connection

  bool connect() {
    int result = 0;
    if (address_.empty()) {
      result = sd_bus_open_system(&bus_);
    } else {
      result = sd_bus_new(&bus_);
      if (result >= 0) result = sd_bus_set_address(bus_, address_.c_str());
      if (result >= 0) result = sd_bus_set_bus_client(bus_, 1);
      if (result >= 0) result = sd_bus_start(bus_);
    }
    if (result >= 0) result = subscribe();
    if (result >= 0) return true;
    lost(result);
    return false;
  }

  // All at once and without waiting; what is asked before the bus has greeted is sent when it has.
  int subscribe() {
    int worst = sd_bus_match_signal_async(bus_, nullptr, kBusName, kBusPath, kBusName, "NameOwnerChanged", &on_owner_changed, nullptr, this);
    for (Service* service : {&networks_, &modems_}) {
      auto add = [&](const std::string& rule, sd_bus_message_handler_t handler) {
        worst = std::min(worst, sd_bus_add_match_async(bus_, nullptr, rule.c_str(), handler, nullptr, service));
      };
      const std::string from = fmt::format("type='signal',sender='{}',", service->name);
      for (const char* interface : service->interfaces) {  // the bus filters: access points and settings change often
        add(fmt::format("{}interface='{}',member='PropertiesChanged',arg0='{}'", from, kProperties, interface), &on_changed);
      }
      add(fmt::format("{}path='{}',interface='{}',member='InterfacesAdded'", from, service->root, kObjectManager), &on_added);
      add(fmt::format("{}path='{}',interface='{}',member='InterfacesRemoved'", from, service->root, kObjectManager), &on_removed);
      worst = std::min(worst, sd_bus_call_method_async(bus_, nullptr, kBusName, kBusPath, kBusName, "GetNameOwner", &on_owner, service, "s", service->name));
    }
    return worst;
  }

  void close() {
    if (bus_ == nullptr) return;
    sd_bus_close(bus_);
    bus_ = sd_bus_unref(bus_);
  }

  void leave(Duration pause) {
    close();
    connect_at_ = clock_.steady() + pause;
    messages_ = 0;
    for (Service* service : {&networks_, &modems_}) gone(*service);
    publish();
  }

  void lost(int error) {
    leave(kReconnect);
    say(fmt::format("connection {}", error), log::Level::info,
        fmt::format("no system bus ({}): NetworkManager and ModemManager are not heard, the kernel and what is measured are enough", std::strerror(-error)));
  }

  void flooded() {
    leave(kAfterFlood);
    say("flood", log::Level::warn, "NetworkManager or ModemManager floods the bus with signals: neither is listened to for a minute, again and again");
  }

  void say(const std::string& key, log::Level level, const std::string& message) {  // once
    if (said_.size() < kSaidMax && said_.insert(key).second) log::write(level, "sync", message);
  }

  // ---------------------------------------------------------------- asking

  void gone(Service& service) {
    service.owner.clear();
    service.known = false;
    service.ask_at.reset();
    service.objects_call = 0;
    service.table.clear();
    service.bearer_calls.clear();
    service.asked.clear();
    changed_ = true;
  }

  void came(Service& service, const std::string& owner) {
    if (service.owner == owner) return;
    gone(service);
    service.owner = owner;
    if (!owner.empty()) ask_objects(service);
  }

  // To the owner of the name, so that nothing is started by asking. Returns the call's cookie; 0: it could not be sent.
  uint64_t call(Service& service, const char* path, const char* interface, const char* method, sd_bus_message_handler_t handler,
                const std::function<int(sd_bus_message*)>& arguments) {
    sd_bus_message* m = nullptr;
    uint64_t cookie = 0;
    int result = sd_bus_message_new_method_call(bus_, &m, service.owner.c_str(), path, interface, method);
    if (result >= 0) result = arguments(m);
    if (result >= 0) result = sd_bus_message_set_auto_start(m, 0);
    if (result >= 0) result = sd_bus_call_async(bus_, nullptr, m, handler, &service, kAnswerMicroseconds);
    if (result >= 0) sd_bus_message_get_cookie(m, &cookie);
    sd_bus_message_unref(m);
    return cookie;
  }

  void ask_objects(Service& service) {
    service.ask_at = clock_.steady() + kAskAgain;  // until it has answered
    service.objects_call = call(service, service.root, kObjectManager, "GetManagedObjects", &on_objects, [](sd_bus_message*) { return 0; });
  }

  // ModemManager's object manager knows modems only.
  void ask_bearers() {
    const std::set<std::string> wanted = internal::bearers_of(modems_.table);
    for (const std::string& path : modems_.table.paths_with(kBearer)) {
      if (wanted.contains(path)) continue;
      modems_.table.remove(path);
      modems_.asked.erase(path);
    }
    for (const std::string& path : wanted) {
      if (modems_.table.contains(path) || modems_.asked.size() >= kAskedMax || !modems_.asked.insert(path).second) continue;
      const uint64_t cookie =
          call(modems_, path.c_str(), kProperties, "GetAll", &on_bearer, [](sd_bus_message* m) { return sd_bus_message_append(m, "s", kBearer); });
      if (cookie != 0) modems_.bearer_calls[cookie] = path;
    }
  }

  // Signal values are not measured until somebody asks for them. Whoever did so keeps his rate.
  void ask_signals() {
    for (const std::string& path : internal::silent_signals(modems_.table)) {
      if (modems_.asked.size() >= kAskedMax || !modems_.asked.insert(path + " signal").second) continue;
      call(modems_, path.c_str(), kSignal, "Setup", &on_setup, [](sd_bus_message* m) { return sd_bus_message_append(m, "u", kSignalSeconds); });
    }
  }

  // ---------------------------------------------------------------- answers and signals

  static bool is_from(sd_bus_message* m, const std::string& sender) {
    const char* from = sd_bus_message_get_sender(m);
    return from != nullptr && sender == from;
  }

  static int on_owner(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    const char* owner = nullptr;
    if (sd_bus_message_is_method_error(m, nullptr) == 0 && sd_bus_message_read(m, "s", &owner) > 0) service.bus.came(service, owner);
    return 0;
  }

  static int on_owner_changed(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& self = *static_cast<SystemBus*>(data);
    const char *name = nullptr, *before = nullptr, *after = nullptr;
    if (!is_from(m, kBusName) || sd_bus_message_read(m, "sss", &name, &before, &after) <= 0) return 0;
    for (Service* service : {&self.networks_, &self.modems_}) {
      if (std::strcmp(name, service->name) != 0) continue;
      log::info("sync", "{} {}", service->title, *after == '\0' ? "is gone" : "is there");
      self.came(*service, after);
    }
    return 0;
  }

  static int on_objects(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    uint64_t cookie = 0;
    if (sd_bus_message_get_reply_cookie(m, &cookie) < 0 || cookie != service.objects_call) return 0;  // asked again since
    const sd_bus_error* error = sd_bus_message_get_error(m);  // its own, the bus', or that no answer came in time
    if (error == nullptr && !is_from(m, service.owner)) return 0;
    service.table.clear();
    if (error != nullptr || sd_bus_message_has_signature(m, "a{oa{sa{sv}}}") <= 0 || !read_objects(m, service.table)) {
      const std::string why = error != nullptr && error->name != nullptr ? std::string(error->name).substr(0, 128) : "an answer that cannot be read";
      service.bus.say(fmt::format("objects {} {}", service.title, why), log::Level::warn,
                      fmt::format("{} does not say what it knows ({}): asked again every {} s", service.title, why, kAskAgain / std::chrono::seconds(1)));
      service.table.clear();
      return 0;
    }
    service.known = true;
    service.ask_at.reset();
    service.bus.changed_ = true;
    return 0;
  }

  static int on_bearer(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    uint64_t cookie = 0;
    if (sd_bus_message_get_reply_cookie(m, &cookie) < 0) return 0;
    auto call = service.bearer_calls.find(cookie);
    if (call == service.bearer_calls.end()) return 0;
    const std::string path = call->second;
    service.bearer_calls.erase(call);
    if (sd_bus_message_is_method_error(m, nullptr) != 0 || !is_from(m, service.owner) || sd_bus_message_has_signature(m, "a{sv}") <= 0) return 0;
    service.table.add(path, kBearer);
    if (!read_properties(m, path, kBearer, service.table)) service.table.remove(path);
    service.bus.changed_ = true;
    return 0;
  }

  static int on_setup(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    const sd_bus_error* error = sd_bus_message_get_error(m);
    if (error == nullptr) return 0;
    service.bus.say("setup", log::Level::info,
                    fmt::format("ModemManager does not let this user ask for signal values ({}): allow org.freedesktop.ModemManager1.Device.Control in polkit",
                                std::string(error->name != nullptr ? error->name : "").substr(0, 128)));
    return 0;
  }

  static int on_changed(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    const char* path = sd_bus_message_get_path(m);
    if (path == nullptr || !is_from(m, service.owner) || !service.table.contains(path) || sd_bus_message_has_signature(m, "sa{sv}as") <= 0) return 0;
    const char* interface = nullptr;
    if (sd_bus_message_read(m, "s", &interface) > 0 && internal::bus_interface_wanted(interface)) {
      read_properties(m, path, interface, service.table);
      service.bus.changed_ = true;
    }
    return 0;
  }

  static int on_added(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    const char* path = nullptr;
    if (!is_from(m, service.owner) || sd_bus_message_has_signature(m, "oa{sa{sv}}") <= 0 || sd_bus_message_read(m, "o", &path) <= 0) return 0;
    read_interfaces(m, path, service.table);
    service.bus.changed_ = true;
    return 0;
  }

  static int on_removed(sd_bus_message* m, void* data, sd_bus_error*) {
    auto& service = *static_cast<Service*>(data);
    const char* path = nullptr;
    if (!is_from(m, service.owner) || sd_bus_message_has_signature(m, "oas") <= 0 || sd_bus_message_read(m, "o", &path) <= 0) return 0;
    const std::string object = path;
    if (sd_bus_message_enter_container(m, 'a', "s") <= 0) return 0;
    for (const char* interface = nullptr; sd_bus_message_read_basic(m, 's', &interface) > 0;) service.table.remove(object, interface);
    service.bus.changed_ = true;
    return 0;
  }

  // ---------------------------------------------------------------- what is made of it

  void publish() {
    changed_ = false;
    std::set<std::string> nonsense;
    std::map<std::string, BusFacts> fresh = internal::bus_facts(networks_.table, modems_.table, nonsense);
    for (const std::string& what : nonsense) say(what.substr(0, what.find(' ')), log::Level::warn, what + ": ignored");
    std::lock_guard lock(mutex_);
    for (const auto& [name, old] : published_) remember_costs(name, old.facts, fresh);
    std::map<std::string, Published> next;
    for (auto& [name, facts] : fresh) {
      auto old = published_.find(name);
      Published& now = next[name] = old == published_.end() ? Published{} : old->second;
      if (old != published_.end()) note_change(now, facts.technology);
      now.facts = std::move(facts);
    }
    published_ = std::move(next);
  }

  // Of a service that went, what costs money is taken to be as it was until it says something of that device again: back, it needs a while to find it.
  void remember_costs(const std::string& name, const BusFacts& old, std::map<std::string, BusFacts>& fresh) const {
    const bool metered = old.metered && (!networks_.known || old.metered_remembered), roaming = old.roaming && (!modems_.known || old.roaming_remembered);
    if ((!metered && !roaming) || (!fresh.contains(name) && fresh.size() >= kDevicesMax)) return;
    BusFacts& now = fresh[name];
    if (metered && !now.metered) {
      now.metered = old.metered;
      now.metered_from = "NetworkManager, when it was there";
      now.metered_remembered = true;
    }
    if (roaming && !now.roaming) {
      now.roaming = old.roaming;
      now.roaming_remembered = true;
    }
  }

  // A modem in NSA goes to LTE whenever it idles: no change of the link. One that jumps without end must not hold back what waits for it to settle.
  void note_change(Published& device, Technology technology) const {
    const Technology old = device.facts.technology;
    auto lte_anchored = [](Technology t) { return t == Technology::lte || t == Technology::nr_nsa; };
    if (old == technology || old == Technology::unknown || technology == Technology::unknown || (lte_anchored(old) && lte_anchored(technology))) return;
    const SteadyTime now = clock_.steady();
    if (now >= device.minute + std::chrono::minutes(1)) {
      device.minute = now;
      device.changes = 0;
    }
    if (++device.changes <= kChangesPerMinute) device.since = now;
  }

  const Clock& clock_;
  const std::string address_;

  // --- of the thread that looks
  sd_bus* bus_ = nullptr;
  SteadyTime connect_at_;
  SteadyTime window_{};
  int messages_ = 0;                    // in it
  bool changed_ = false;
  std::set<std::string> said_;
  Service networks_{.bus = *this,
                    .title = "NetworkManager",
                    .name = "org.freedesktop.NetworkManager",
                    .root = "/org/freedesktop",
                    .interfaces = {"org.freedesktop.NetworkManager.Device"}};
  Service modems_{.bus = *this,
                  .title = "ModemManager",
                  .name = "org.freedesktop.ModemManager1",
                  .root = "/org/freedesktop/ModemManager1",
                  .interfaces = {"org.freedesktop.ModemManager1.Modem", "org.freedesktop.ModemManager1.Modem.Modem3gpp", kSignal, kBearer}};

  // --- of any thread
  mutable std::mutex mutex_;
  std::map<std::string, Published> published_;
};

}  // namespace

std::unique_ptr<BusWatch> BusWatch::make(const Clock& clock, std::string address) { return std::make_unique<SystemBus>(clock, std::move(address)); }

}  // namespace skerry::sync
