#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <cmath>
#include <map>

#include "base/random.h"
#include "plugins/source.h"
#include "tests/plugins/replay_files.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::plugins;
using namespace std::chrono_literals;
using test::SimClock;
using test::TempDir;
using test::write_text;

namespace {

// "cpu" -> its fields, "disk{device=sda}" -> its fields; the host tag is left out of the name.
using Snapshot = std::map<std::string, std::map<std::string, double>>;

struct Machine {
  TempDir root;
  SimClock clock;
  std::unique_ptr<Source> source;

  Machine() {
    stat(1000, 3000);
    write_text(root / "proc/loadavg", "0.52 0.58 0.59 1/467 12345\n");
    write_text(root / "proc/meminfo",
               "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n");
    disk(100, 200, 300);
    net(1000, 2000);
    write_text(root / "proc/sys/kernel/hostname", "skerry-1\n");
    write_text(root / "sys/block/sda/size", "1");
    write_text(root / "sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    write_text(root / "sys/class/thermal/thermal_zone0/temp", "45500\n");
    write_text(root / "sys/class/hwmon/hwmon0/name", "nvme\n");
    write_text(root / "sys/class/hwmon/hwmon0/temp1_input", "-12000\n");
    write_text(root / "sys/class/hwmon/hwmon0/temp1_label", "Composite\n");
  }
  void stat(uint64_t busy, uint64_t idle) {
    write_text(root / "proc/stat", fmt::format("cpu  {} 0 0 {} 0 0 0 0 0 0\ncpu0 {} 0 0 {} 0 0 0 0 0 0\ncpu1 0 0 0 "
                                               "{} 0 0 0 0 0 0\nintr 1 2 3\nctxt 5\n",
                                               busy, idle, busy, idle / 2, idle / 2));
  }
  void disk(uint64_t sectors_read, uint64_t sectors_written, uint64_t busy_ms) {
    write_text(root / "proc/diskstats", fmt::format("   7 0 loop0 9 0 9 0 9 0 9 0 0 9 9\n   8 0 sda 5 0 {} 0 5 0 "
                                                    "{} 0 0 {} 9\n   8 1 sda1 5 0 1 0 5 0 1 0 0 1 9\n",
                                                    sectors_read, sectors_written, busy_ms));
  }
  void net(uint64_t rx, uint64_t tx) {
    write_text(root / "proc/net/dev",
               fmt::format(
                   "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
                   "  eth0:{} 10 1 0 0 0 0 0 {} 20 2 0 0 0 0 0\n",
                   rx, tx));
  }
  Snapshot poll() {
    if (!source) {
      HostOptions options;
      options.root = root.path();
      source = std::move(make_host_source(options)).value();
    }
    Result<Poll> poll = source->poll(clock.now());
    REQUIRE(poll.ok());
    Snapshot out;
    for (Batch& b : poll->batches) {
      CHECK(b.validate().ok());
      b.series.tags.erase("host");
      for (const Column& c : b.columns) out[b.series.text()][c.name] = c.number(0);
    }
    return out;
  }
};

}  // namespace

TEST_CASE("host: the machine's sensors become streams with units in their field names") {
  Machine m;
  Snapshot first = m.poll();
  CHECK(first["memory"]["used_bytes"] == 600 * 1024);
  CHECK(first["memory"]["available_bytes"] == 400 * 1024);
  CHECK(first["memory"]["total_bytes"] == 1000 * 1024);
  CHECK(first["memory"]["swap_used_bytes"] == 30 * 1024);
  CHECK(first["cpu"]["load1"] == 0.52);
  CHECK(first["cpu"].count("usage_share") == 0);  // a rate needs two polls
  CHECK(first["temperature{sensor=x86_pkg_temp}"]["celsius"] == 45.5);
  CHECK(first["temperature{sensor=nvme Composite}"]["celsius"] == -12);

  m.clock.advance(2s);
  m.stat(1100, 3100);
  m.disk(104, 208, 1300);
  m.net(3000, 2500);
  Snapshot second = m.poll();
  CHECK(second["cpu"]["usage_share"] == Approx(0.5));
  CHECK(second["cpu"]["core0_usage_share"] == Approx(100.0 / 150));
  CHECK(second["cpu"]["core1_usage_share"] == 0);
  CHECK(second["disk{device=sda}"]["read_bytes_per_s"] == 4 * 512 / 2);
  CHECK(second["disk{device=sda}"]["write_bytes_per_s"] == 8 * 512 / 2);
  CHECK(second["disk{device=sda}"]["busy_share"] == Approx(0.5));
  CHECK(second["network{interface=eth0}"]["rx_bytes_per_s"] == 1000);
  CHECK(second["network{interface=eth0}"]["tx_bytes_per_s"] == 250);
  CHECK(second["network{interface=eth0}"]["rx_errors_per_s"] == 0);
  CHECK(second.count("disk{device=sda1}") == 0);
  CHECK(second.count("disk{device=loop0}") == 0);
  CHECK(second.count("network{interface=lo}") == 0);
}

TEST_CASE("host: every record says which machine it is from") {
  Machine m;
  m.poll();
  m.clock.advance(1s);
  Result<Poll> poll = m.source->poll(m.clock.now());
  REQUIRE(poll.ok());
  REQUIRE_FALSE(poll->batches.empty());
  for (const Batch& b : poll->batches) CHECK(b.series.tags.at("host") == "skerry-1");
}

TEST_CASE("host: it keeps its rate when it is asked too early") {
  Machine m;
  m.poll();
  m.clock.advance(300ms);
  Result<Poll> poll = m.source->poll(m.clock.now());
  REQUIRE(poll.ok());
  CHECK(poll->batches.empty());
  CHECK(poll->next == 700ms);
}

TEST_CASE("host: a counter that went backwards gives no rate, and the next interval does") {
  Machine m;
  m.poll();
  m.clock.advance(1s);
  m.stat(10, 20);
  m.disk(1, 1, 1);
  m.net(5, 5);
  Snapshot reset = m.poll();
  CHECK(reset["cpu"].count("usage_share") == 0);
  CHECK(reset.count("disk{device=sda}") == 0);
  CHECK(reset.count("network{interface=eth0}") == 0);
  CHECK(reset["cpu"]["load1"] == 0.52);
  m.clock.advance(1s);
  m.stat(20, 20);
  m.net(105, 5);
  Snapshot after = m.poll();
  CHECK(after["cpu"]["usage_share"] == 1.0);
  CHECK(after["network{interface=eth0}"]["rx_bytes_per_s"] == 100);
}

TEST_CASE("host: a clock that is set back gives no rates, and does not stall") {
  Machine m;
  m.poll();
  m.clock.jump_wall(-1h);
  m.net(2000, 3000);
  CHECK(m.poll().count("network{interface=eth0}") == 0);
  m.clock.advance(1s);
  m.net(2500, 3000);
  CHECK(m.poll()["network{interface=eth0}"]["rx_bytes_per_s"] == 500);
}

TEST_CASE("host: a machine without any of the files has no records and no errors") {
  Machine m;
  std::filesystem::remove_all(m.root / "proc");
  std::filesystem::remove_all(m.root / "sys");
  CHECK(m.poll().empty());
  m.clock.advance(1s);
  CHECK(m.poll().empty());
}

TEST_CASE("host: two sensors of one name are told apart") {
  Machine m;
  write_text(m.root / "sys/class/hwmon/hwmon1/name", "nvme");
  write_text(m.root / "sys/class/hwmon/hwmon1/temp1_input", "30000");
  write_text(m.root / "sys/class/hwmon/hwmon1/temp1_label", "Composite");
  Snapshot s = m.poll();
  CHECK(s["temperature{sensor=nvme Composite}"]["celsius"] == -12);
  CHECK(s["temperature{sensor=nvme Composite#2}"]["celsius"] == 30);
}

TEST_CASE("host: garbage in /proc is left out") {
  Machine m;
  write_text(m.root / "proc/stat", "cpu -1 x 99999999999999999999999 4\ncpu0\ncpuX 1 2 3 4\n\n\n");
  write_text(m.root / "proc/loadavg", "nan nan\n");
  write_text(m.root / "proc/meminfo", "MemTotal: lots\nMemAvailable\n: 5 kB\n");
  write_text(m.root / "proc/diskstats", "8 0\n8 0 sda a b c d e f g h i j k\n");
  write_text(m.root / "proc/net/dev", ":\n:::\neth0\neth0: 1 2\n");
  write_text(m.root / "sys/class/thermal/thermal_zone0/temp", "999999999999\n");
  write_text(m.root / "sys/class/hwmon/hwmon0/temp1_input", "warm\n");
  CHECK(m.poll().empty());
}

TEST_CASE("host: random bytes, an endless file and a pipe in place of /proc do no harm") {
  Machine m;
  Random random(Catch::rngSeed());
  for (int round = 0; round < 50; ++round) {
    for (const char* file : {"proc/stat", "proc/loadavg", "proc/meminfo", "proc/diskstats", "proc/net/dev",
                             "sys/class/thermal/thermal_zone0/type", "sys/class/thermal/thermal_zone0/temp",
                             "sys/class/hwmon/hwmon0/name", "sys/class/hwmon/hwmon0/temp1_input"}) {
      std::string text;
      for (uint64_t n = random.below(400); n > 0; --n) text += "0123456789 \n:cpu\t-\xff"[random.below(19)];
      write_text(m.root / file, text);
    }
    for (const auto& [name, fields] : m.poll()) {
      for (const auto& [field, value] : fields) CHECK(std::isfinite(value));
    }
    m.clock.advance(1s);
  }
  write_text(m.root / "proc/stat", "cpu 1 1 1 1 " + std::string(4 << 20, '7'));
  std::filesystem::remove(m.root / "proc/meminfo");
  REQUIRE(::mkfifo((m.root / "proc/meminfo").c_str(), 0600) == 0);
  m.poll();
}

TEST_CASE("host: this machine's own sensors can be read") {
  HostOptions options;
  options.rate_hz = 10;
  Result<std::unique_ptr<Source>> source = make_host_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  bool memory = false;
  for (int i = 0; i < 3; ++i) {
    Result<Poll> poll = (*source)->poll(clock.now());
    REQUIRE(poll.ok());
    for (const Batch& b : poll->batches) {
      CHECK(b.validate().ok());
      memory |= b.series.name == "memory" && b.column("total_bytes")->number(0) > 0;
    }
    clock.advance(100ms);
  }
  CHECK(memory);
}

TEST_CASE("host: a rate outside its range is refused") {
  HostOptions options;
  options.rate_hz = 1000;
  Result<std::unique_ptr<Source>> source = make_host_source(options);
  REQUIRE_FALSE(source.ok());
  CHECK_THAT(source.error().message, Catch::Contains("between 0.01 and 10"));
}
