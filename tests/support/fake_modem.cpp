#include "tests/support/fake_modem.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

namespace skerry::test {
namespace {

constexpr const char* kProperties = "org.freedesktop.DBus.Properties";
constexpr const char* kObjectManager = "org.freedesktop.DBus.ObjectManager";
constexpr const char* kDevice = "org.freedesktop.NetworkManager.Device";
constexpr const char* kModem = "org.freedesktop.ModemManager1.Modem";
constexpr const char* kModem3gpp = "org.freedesktop.ModemManager1.Modem.Modem3gpp";
constexpr const char* kSignal = "org.freedesktop.ModemManager1.Modem.Signal";
constexpr const char* kBearer = "org.freedesktop.ModemManager1.Bearer";

void append(sd_bus_message* m, const FakeScalar& value) {
  struct {
    sd_bus_message* m;
    void operator()(bool v) const { sd_bus_message_append(m, "v", "b", v ? 1 : 0); }
    void operator()(int32_t v) const { sd_bus_message_append(m, "v", "i", v); }
    void operator()(uint32_t v) const { sd_bus_message_append(m, "v", "u", v); }
    void operator()(uint64_t v) const { sd_bus_message_append(m, "v", "t", v); }
    void operator()(double v) const { sd_bus_message_append(m, "v", "d", v); }
    void operator()(const std::string& v) const { sd_bus_message_append(m, "v", "s", v.c_str()); }
  } write{m};
  std::visit(write, value);
}

void append(sd_bus_message* m, const FakeValue& value) {
  if (const auto* scalar = std::get_if<FakeScalar>(&value)) return append(m, *scalar);
  if (const auto* paths = std::get_if<FakeObjectPaths>(&value)) {
    sd_bus_message_open_container(m, 'v', "ao");
    sd_bus_message_open_container(m, 'a', "o");
    for (const std::string& path : paths->paths) sd_bus_message_append(m, "o", path.c_str());
  } else if (const auto* ports = std::get_if<FakePorts>(&value)) {
    sd_bus_message_open_container(m, 'v', "a(su)");
    sd_bus_message_open_container(m, 'a', "(su)");
    for (const auto& [name, type] : ports->ports) sd_bus_message_append(m, "(su)", name.c_str(), type);
  } else {
    sd_bus_message_open_container(m, 'v', "a{sv}");
    sd_bus_message_open_container(m, 'a', "{sv}");
    for (const auto& [key, entry] : std::get<FakeDictionary>(value)) {
      sd_bus_message_open_container(m, 'e', "sv");
      sd_bus_message_append(m, "s", key.c_str());
      append(m, entry);
      sd_bus_message_close_container(m);
    }
  }
  sd_bus_message_close_container(m);
  sd_bus_message_close_container(m);
}

using Properties = std::map<std::string, FakeValue>;
using Interfaces = std::map<std::string, Properties>;

void append(sd_bus_message* m, const Properties& properties) {
  sd_bus_message_open_container(m, 'a', "{sv}");
  for (const auto& [name, value] : properties) {
    sd_bus_message_open_container(m, 'e', "sv");
    sd_bus_message_append(m, "s", name.c_str());
    append(m, value);
    sd_bus_message_close_container(m);
  }
  sd_bus_message_close_container(m);
}

void append(sd_bus_message* m, const Interfaces& interfaces) {
  sd_bus_message_open_container(m, 'a', "{sa{sv}}");
  for (const auto& [name, properties] : interfaces) {
    sd_bus_message_open_container(m, 'e', "sa{sv}");
    sd_bus_message_append(m, "s", name.c_str());
    append(m, properties);
    sd_bus_message_close_container(m);
  }
  sd_bus_message_close_container(m);
}

}  // namespace

struct FakeService::Impl {
  sd_bus* bus = nullptr;
  std::string root;
  int wake = -1;
  std::thread thread;

  std::mutex mutex;
  std::condition_variable done;
  std::function<void()> task;                       // for the thread that has the bus
  bool stopping = false;
  std::map<std::string, uint64_t> called;

  // --- of the thread that has the bus
  std::map<std::string, std::pair<Interfaces, bool>> objects;  // and whether it is listed
  bool hangs = false, garbles = false;

  void run() {
    for (;;) {
      {
        std::lock_guard lock(mutex);
        if (stopping) break;
        if (task) {
          task();
          task = nullptr;
          done.notify_all();
        }
      }
      while (sd_bus_process(bus, nullptr) > 0) {
      }
      pollfd waits[] = {{sd_bus_get_fd(bus), static_cast<short>(std::max(0, sd_bus_get_events(bus))), 0}, {wake, POLLIN, 0}};
      ::poll(waits, 2, 1000);
      uint64_t count = 0;
      if ((waits[1].revents & POLLIN) != 0) (void)!::read(wake, &count, sizeof(count));
      if ((waits[0].revents & (POLLHUP | POLLERR)) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the bus was killed
    }
    sd_bus_flush(bus);
    sd_bus_close(bus);
    sd_bus_unref(bus);
  }

  void poke() { (void)!::write(wake, &kOne, sizeof(kOne)); }
  static constexpr uint64_t kOne = 1;

  void on_thread(std::function<void()> what) {
    std::unique_lock lock(mutex);
    task = [this, what = std::move(what)] {
      what();
      sd_bus_flush(bus);
    };
    poke();
    done.wait(lock, [this] { return !task; });
  }

  void send_changed(const std::string& path, const std::string& interface, const Properties& changed) {
    sd_bus_message* m = nullptr;
    sd_bus_message_new_signal(bus, &m, path.c_str(), kProperties, "PropertiesChanged");
    sd_bus_message_append(m, "s", interface.c_str());
    append(m, changed);
    sd_bus_message_append(m, "as", 0);
    sd_bus_send(bus, m, nullptr);
    sd_bus_message_unref(m);
  }

  static int answer(sd_bus_message* call, void* data, sd_bus_error*) {
    auto& self = *static_cast<Impl*>(data);
    uint8_t type = 0;
    sd_bus_message_get_type(call, &type);
    if (type != SD_BUS_MESSAGE_METHOD_CALL) return 0;
    const std::string method = sd_bus_message_get_member(call), path = sd_bus_message_get_path(call);
    ++self.called[method];  // with the mutex or without: tests look only after they waited for the effect
    if (self.hangs) return 1;
    sd_bus_message* m = nullptr;
    sd_bus_message_new_method_return(call, &m);
    if (self.garbles) {
      sd_bus_message_append(m, "su", "all is well", 42u);
    } else if (method == "GetManagedObjects" && path == self.root) {
      sd_bus_message_open_container(m, 'a', "{oa{sa{sv}}}");
      for (const auto& [name, object] : self.objects) {
        if (!object.second) continue;
        sd_bus_message_open_container(m, 'e', "oa{sa{sv}}");
        sd_bus_message_append(m, "o", name.c_str());
        append(m, object.first);
        sd_bus_message_close_container(m);
      }
      sd_bus_message_close_container(m);
    } else if (method == "GetAll") {
      const char* interface = nullptr;
      sd_bus_message_read(call, "s", &interface);
      append(m, self.objects[path].first[interface]);
    }
    sd_bus_send(self.bus, m, nullptr);
    sd_bus_message_unref(m);
    return 1;
  }
};

FakeService::FakeService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

FakeService::~FakeService() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->poke();
  if (impl_->thread.joinable()) impl_->thread.join();
  ::close(impl_->wake);
}

Result<std::unique_ptr<FakeService>> FakeService::start(const std::string& bus_address, std::string name, std::string root) {
  auto impl = std::make_unique<Impl>();
  impl->root = std::move(root);
  impl->wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  sd_bus_new(&impl->bus);
  int result = sd_bus_set_address(impl->bus, bus_address.c_str());
  if (result >= 0) result = sd_bus_set_bus_client(impl->bus, 1);
  if (result >= 0) result = sd_bus_start(impl->bus);
  if (result >= 0) result = sd_bus_add_filter(impl->bus, nullptr, &Impl::answer, impl.get());
  if (result >= 0) result = sd_bus_request_name(impl->bus, name.c_str(), 0);
  if (result < 0) {
    sd_bus_close(impl->bus);
    sd_bus_unref(impl->bus);
    ::close(impl->wake);
    return fail(Code::unavailable, "no {} on {}: {}", name, bus_address, std::strerror(-result));
  }
  Impl* running = impl.get();
  impl->thread = std::thread([running] { running->run(); });
  return std::unique_ptr<FakeService>(new FakeService(std::move(impl)));
}

void FakeService::set(const std::string& path, const std::string& interface, const std::string& property, FakeValue value, bool listed) {
  impl_->on_thread([&] {
    const bool fresh = !impl_->objects.contains(path);
    auto& object = impl_->objects[path];
    object.second = listed;
    object.first[interface][property] = value;
    if (!fresh) return impl_->send_changed(path, interface, {{property, value}});
    if (!listed) return;
    sd_bus_message* m = nullptr;
    sd_bus_message_new_signal(impl_->bus, &m, impl_->root.c_str(), kObjectManager, "InterfacesAdded");
    sd_bus_message_append(m, "o", path.c_str());
    append(m, object.first);
    sd_bus_send(impl_->bus, m, nullptr);
    sd_bus_message_unref(m);
  });
}

void FakeService::remove(const std::string& path) {
  impl_->on_thread([&] {
    sd_bus_message* m = nullptr;
    sd_bus_message_new_signal(impl_->bus, &m, impl_->root.c_str(), kObjectManager, "InterfacesRemoved");
    sd_bus_message_append(m, "o", path.c_str());
    sd_bus_message_open_container(m, 'a', "s");
    for (const auto& [interface, unused] : impl_->objects[path].first) sd_bus_message_append(m, "s", interface.c_str());
    sd_bus_message_close_container(m);
    sd_bus_send(impl_->bus, m, nullptr);
    sd_bus_message_unref(m);
    impl_->objects.erase(path);
  });
}

void FakeService::flood(const std::string& path, const std::string& interface, const std::string& property, FakeValue value, size_t signals) {
  impl_->on_thread([&] {
    for (size_t i = 0; i < signals; ++i) {
      impl_->send_changed(path, interface, {{property, value}});
      if (i % 256 == 0) sd_bus_flush(impl_->bus);
    }
  });
}

void FakeService::hang(bool hangs) {
  impl_->on_thread([&] { impl_->hangs = hangs; });
}

void FakeService::garbage(bool garbles) {
  impl_->on_thread([&] { impl_->garbles = garbles; });
}

uint64_t FakeService::calls(const std::string& method) const {
  uint64_t count = 0;
  impl_->on_thread([&] { count = impl_->called[method]; });
  return count;
}

Result<std::unique_ptr<FakeService>> FakeNetwork::network_manager(const std::string& bus_address) {
  SKERRY_ASSIGN(auto service, FakeService::start(bus_address, "org.freedesktop.NetworkManager", "/org/freedesktop"));
  service->set("/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Version", FakeScalar(std::string("1.42.4")));
  auto device = [&](const char* path, const char* control, const char* carries, uint32_t type, uint32_t metered) {
    service->set(path, kDevice, "DeviceType", FakeScalar(type));
    service->set(path, kDevice, "Interface", FakeScalar(std::string(control)));
    service->set(path, kDevice, "IpInterface", FakeScalar(std::string(carries)));
    service->set(path, kDevice, "Metered", FakeScalar(metered));
    service->set(path, kDevice, "Ip4Connectivity", FakeScalar(4u));
  };
  device(kEthernet, "eth0", "eth0", 1, 4);       // ethernet, guessed: not metered
  device(kMobile, "cdc-wdm0", "wwan0", 8, 3);    // a modem, guessed: metered
  return service;
}

Result<std::unique_ptr<FakeService>> FakeNetwork::modem_manager(const std::string& bus_address) {
  SKERRY_ASSIGN(auto service, FakeService::start(bus_address, "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1"));
  service->set(kBearer, test::kBearer, "Interface", FakeScalar(std::string("wwan0")), false);
  service->set(kBearer, test::kBearer, "Connected", FakeScalar(true), false);
  service->set(kBearer, test::kBearer, "Stats", FakeDictionary{{"tx-bytes", uint64_t{70'000}}, {"rx-bytes", uint64_t{9'000}}}, false);
  service->set(kBearer, test::kBearer, "Properties", FakeDictionary{{"apn", std::string("iot.example")}}, false);
  service->set(kModem, test::kModem, "AccessTechnologies", FakeScalar(uint32_t{1} << 15));
  service->set(kModem, test::kModem, "Ports", FakePorts{{{"cdc-wdm0", 6}, {"wwan0", 2}}});
  service->set(kModem, test::kModem, "Bearers", FakeObjectPaths{{kBearer}});
  service->set(kModem, kModem3gpp, "RegistrationState", FakeScalar(1u));
  service->set(kModem, kModem3gpp, "OperatorName", FakeScalar(std::string("Test PLMN")));
  service->set(kModem, kSignal, "Rate", FakeScalar(0u));
  service->set(kModem, kSignal, "Lte", FakeDictionary{});
  service->set(kModem, kSignal, "Nr5g", FakeDictionary{{"rsrp", -95.0}, {"rsrq", -11.0}, {"snr", 12.5}});
  return service;
}

void FakeNetwork::set_technology(FakeService& modems, uint32_t bits) { modems.set(kModem, test::kModem, "AccessTechnologies", FakeScalar(bits)); }

void FakeNetwork::set_signal(FakeService& modems, const std::string& leg, FakeDictionary values) { modems.set(kModem, kSignal, leg, std::move(values)); }

}  // namespace skerry::test
