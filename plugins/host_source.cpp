// The machine's own sensors from /proc and /sys (Linux: proc(5), Documentation/admin-guide/iostats.rst,
// hwmon/sysfs-interface.rst). A file that is missing or makes no sense leaves its values out; nothing here can fail
// a poll. A counter that went backwards (wrap or reset) gives no rate for that interval.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "plugins/source.h"

namespace skerry::plugins {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileBytesMax = 256 << 10;  // the rest of a longer file is not read
constexpr size_t kCoresMax = 128;
constexpr size_t kDevicesMax = 64;    // disks, interfaces, sensors: each
constexpr size_t kEntriesMax = 1024;  // of one folder of /sys
constexpr double kSectorBytes = 512;  // of /proc/diskstats, whatever the disk's own sector is

// Empty when there is no such file. Non-blocking: a pipe must not hang the gateway.
std::string read_some(const fs::path& path) {
  std::string out;
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return out;
  std::array<char, 16384> buffer;
  while (out.size() < kFileBytesMax) {
    ssize_t n = ::read(fd, buffer.data(), std::min(buffer.size(), kFileBytesMax - out.size()));
    if (n <= 0) break;
    out.append(buffer.data(), static_cast<size_t>(n));
  }
  ::close(fd);
  return out;
}

std::string_view take_line(std::string_view& text) {
  size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// The words lie in the text that was given, so a text that is about to go is refused.
std::vector<std::string_view> words(std::string&& line, size_t count_max = 32) = delete;
std::vector<std::string_view> words(std::string_view line, size_t count_max = 32) {
  std::vector<std::string_view> out;
  while (out.size() < count_max) {
    size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return out;
}

template <typename T>
std::optional<T> parse(std::string_view word) {
  T value{};
  auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (code != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

// The numbers of `line` from word `from` on; nullopt unless there are at least `count` and all are numbers.
std::optional<std::vector<double>> numbers(const std::vector<std::string_view>& line, size_t from, size_t count) {
  std::vector<double> out;
  for (size_t i = from; i < line.size() && out.size() < count; ++i) {
    std::optional<uint64_t> value = parse<uint64_t>(line[i]);
    if (!value) return std::nullopt;
    out.push_back(static_cast<double>(*value));
  }
  if (out.size() < count) return std::nullopt;
  return out;
}

// A name from the kernel as a tag value: what a device calls itself is not to be trusted.
std::string clean(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 128)) {
    if (c == '\n') break;
    out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f ? '_' : c;
  }
  return out;
}

// Names in a folder, sorted, so that equal machines give equal streams.
std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end && out.size() < kEntriesMax;
       entry.increment(code)) {
    out.push_back(entry->path().filename().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

using Counters = std::vector<double>;

class HostSource final : public Source {
 public:
  explicit HostSource(const HostOptions& options)
      : root_(options.root), period_(static_cast<int64_t>(1e9 / options.rate_hz)) {
    hostname_ = clean(read_some(root_ / "proc/sys/kernel/hostname"));
  }

  std::string name() const override { return "host"; }

  Result<Poll> poll(WallTime now) override {
    Poll out;
    if (last_ && now >= *last_ && now - *last_ < period_) {
      out.next = period_ - (now - *last_);
      return out;
    }
    // A clock that was set back gives no interval to divide by: this poll only takes the counters anew.
    interval_s_ = last_ && now > *last_ ? std::chrono::duration<double>(now - *last_).count() : 0;
    last_ = now;
    now_ns_ = now.time_since_epoch().count();
    out_ = &out.batches;
    cpu();
    memory();
    disks();
    interfaces();
    temperatures();
    out_ = nullptr;
    std::swap(before_, after_);
    after_.clear();
    out.next = period_;
    return out;
  }

 private:
  using Fields = std::vector<std::pair<std::string, double>>;

  void emit(const std::string& stream, const std::string& tag, const std::string& tag_value, const Fields& fields) {
    if (fields.empty()) return;
    Batch batch{Series{stream, {}}, {now_ns_}};
    if (!hostname_.empty()) batch.series.tags["host"] = hostname_;
    if (!tag.empty()) batch.series.tags[tag] = tag_value;
    for (const auto& [name, value] : fields) batch.columns.push_back({name, std::vector<double>{value}});
    out_->push_back(std::move(batch));
  }

  // Differences of counters since the last poll; nullopt the first time, and when any of them went backwards.
  std::optional<Counters> since(const std::string& what, const Counters& now) {
    after_[what] = now;
    auto before = before_.find(what);
    if (interval_s_ <= 0 || before == before_.end() || before->second.size() != now.size()) return std::nullopt;
    Counters out;
    for (size_t i = 0; i < now.size(); ++i) {
      if (now[i] < before->second[i]) return std::nullopt;
      out.push_back(now[i] - before->second[i]);
    }
    return out;
  }

  // Busy share of one line of /proc/stat: user nice system idle iowait irq softirq steal.
  std::optional<double> usage(const std::string& name, const std::vector<std::string_view>& line) {
    std::optional<Counters> now = numbers(line, 1, 8);
    if (!now) now = numbers(line, 1, 4);
    if (!now) return std::nullopt;
    // iowait may decrease (proc(5)): idle and iowait are one counter, and so is the rest.
    double idle = (*now)[3] + (now->size() > 4 ? (*now)[4] : 0), all = 0;
    for (double n : *now) all += n;
    std::optional<Counters> delta = since("cpu " + name, {all - idle, idle});
    if (!delta || (*delta)[0] + (*delta)[1] <= 0) return std::nullopt;
    return (*delta)[0] / ((*delta)[0] + (*delta)[1]);
  }

  void cpu() {
    Fields fields;
    const std::string stat = read_some(root_ / "proc/stat");
    std::string_view text = stat;
    size_t cores = 0;
    while (!text.empty() && cores < kCoresMax) {
      const auto line = words(take_line(text));
      if (line.empty() || !line[0].starts_with("cpu")) continue;
      const std::string_view core = line[0].substr(3);
      if (!core.empty() && !parse<uint16_t>(core)) continue;
      cores += !core.empty();
      if (std::optional<double> share = usage(std::string(core), line)) {
        fields.emplace_back(core.empty() ? "usage_share" : fmt::format("core{}_usage_share", core), *share);
      }
    }
    const std::string load = read_some(root_ / "proc/loadavg");
    const auto load_words = words(load);
    std::optional<double> load1 = load_words.empty() ? std::nullopt : parse<double>(load_words[0]);
    if (load1 && std::isfinite(*load1) && *load1 >= 0) fields.emplace_back("load1", *load1);
    emit("cpu", "", "", fields);
  }

  void memory() {
    const std::string meminfo = read_some(root_ / "proc/meminfo");
    std::string_view text = meminfo;
    std::map<std::string_view, double> bytes;
    while (!text.empty()) {
      const auto line = words(take_line(text));
      std::optional<uint64_t> kib = line.size() >= 2 ? parse<uint64_t>(line[1]) : std::nullopt;
      if (kib) bytes[line[0]] = static_cast<double>(*kib) * 1024;
    }
    Fields fields;
    if (!bytes.count("MemAvailable:") && bytes.count("MemFree:")) {  // kernels before 3.14
      bytes["MemAvailable:"] = bytes["MemFree:"] + bytes["Buffers:"] + bytes["Cached:"];
    }
    if (bytes.count("MemTotal:") && bytes.count("MemAvailable:")) {
      const double total = bytes["MemTotal:"], available = std::min(bytes["MemAvailable:"], total);
      fields = {{"used_bytes", total - available}, {"available_bytes", available}, {"total_bytes", total}};
    }
    if (bytes.count("SwapTotal:") && bytes.count("SwapFree:")) {
      fields.emplace_back("swap_used_bytes", std::max(0.0, bytes["SwapTotal:"] - bytes["SwapFree:"]));
      fields.emplace_back("swap_total_bytes", bytes["SwapTotal:"]);
    }
    emit("memory", "", "", fields);
  }

  // Whole disks that did something since boot, by /sys/block when it is there: partitions would count twice.
  void disks() {
    const std::vector<std::string> listed = entries(root_ / "sys/block");
    const std::set<std::string, std::less<>> whole(listed.begin(), listed.end());
    const std::string stats = read_some(root_ / "proc/diskstats");
    std::string_view text = stats;
    for (size_t seen = 0; !text.empty() && seen < kDevicesMax;) {
      const auto line = words(take_line(text));
      std::optional<Counters> all = numbers(line, 3, 11);
      if (!all || line[2].starts_with("loop") || line[2].starts_with("ram")) continue;
      if (!whole.empty() && !whole.contains(line[2])) continue;
      const double sectors_read = (*all)[2], sectors_written = (*all)[6], busy_ms = (*all)[9];
      if ((*all)[0] + (*all)[4] == 0) continue;
      ++seen;
      const std::string device = clean(line[2]);
      std::optional<Counters> delta = since("disk " + device, {sectors_read, sectors_written, busy_ms});
      if (!delta) continue;
      emit("disk", "device", device,
           {{"read_bytes_per_s", (*delta)[0] * kSectorBytes / interval_s_},
            {"write_bytes_per_s", (*delta)[1] * kSectorBytes / interval_s_},
            {"busy_share", std::min(1.0, (*delta)[2] / 1000 / interval_s_)}});
    }
  }

  void interfaces() {
    const std::string dev = read_some(root_ / "proc/net/dev");
    std::string_view text = dev;
    for (size_t seen = 0; !text.empty() && seen < kDevicesMax;) {
      std::string_view line = take_line(text);
      size_t colon = line.rfind(':');  // an alias may have one in its name
      if (colon == std::string_view::npos) continue;
      const auto name = words(line.substr(0, colon));
      std::optional<Counters> all = numbers(words(line.substr(colon + 1)), 0, 16);
      if (!all || name.size() != 1 || name[0] == "lo" || (*all)[0] + (*all)[8] == 0) continue;
      ++seen;
      const std::string interface = clean(name[0]);
      std::optional<Counters> delta =
          since("network " + interface, {(*all)[0], (*all)[8], (*all)[1], (*all)[9], (*all)[2], (*all)[10]});
      if (!delta) continue;
      static const char* const kNames[] = {"rx_bytes_per_s",   "tx_bytes_per_s",  "rx_packets_per_s",
                                           "tx_packets_per_s", "rx_errors_per_s", "tx_errors_per_s"};
      Fields fields;
      for (size_t i = 0; i < delta->size(); ++i) fields.emplace_back(kNames[i], (*delta)[i] / interval_s_);
      emit("network", "interface", interface, fields);
    }
  }

  void temperature(std::string sensor, const fs::path& file) {
    const std::string text = read_some(file);
    std::string_view rest = text;
    const auto line = words(take_line(rest));
    std::optional<int64_t> milli = line.empty() ? std::nullopt : parse<int64_t>(line[0]);
    if (!milli || *milli < -273'150 || *milli > 1'000'000 || sensors_.size() >= kDevicesMax) return;
    if (sensor.empty()) sensor = clean(file.parent_path().filename().string());
    std::string unique = sensor;
    for (int n = 2; !sensors_.insert(unique).second; ++n) unique = fmt::format("{}#{}", sensor, n);
    emit("temperature", "sensor", unique, {{"celsius", static_cast<double>(*milli) / 1000}});
  }

  void temperatures() {
    sensors_.clear();
    const fs::path thermal = root_ / "sys/class/thermal", hwmon = root_ / "sys/class/hwmon";
    for (const std::string& zone : entries(thermal)) {
      if (zone.starts_with("thermal_zone"))
        temperature(clean(read_some(thermal / zone / "type")), thermal / zone / "temp");
    }
    for (const std::string& chip : entries(hwmon)) {
      const std::string chip_name = clean(read_some(hwmon / chip / "name"));
      for (const std::string& file : entries(hwmon / chip)) {
        if (!file.starts_with("temp") || !file.ends_with("_input")) continue;
        const std::string number = file.substr(0, file.size() - 6);  // "temp1"
        std::string label = clean(read_some(hwmon / chip / (number + "_label")));
        temperature((chip_name.empty() ? chip : chip_name) + " " + (label.empty() ? number : label),
                    hwmon / chip / file);
      }
    }
  }

  const fs::path root_;
  const Duration period_;
  std::string hostname_;
  std::optional<WallTime> last_;
  std::map<std::string, Counters> before_, after_;
  // Of the poll that is under way.
  double interval_s_ = 0;
  int64_t now_ns_ = 0;
  std::set<std::string> sensors_;
  std::vector<Batch>* out_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Source>> make_host_source(const HostOptions& options) {
  if (!(options.rate_hz >= 0.01 && options.rate_hz <= 10)) {
    return fail(Code::invalid, "host rate_hz is {}: choose between 0.01 and 10 per second", options.rate_hz);
  }
  return std::unique_ptr<Source>(std::make_unique<HostSource>(options));
}

}  // namespace skerry::plugins
