#include "config/internal/keys.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "config/internal/key_types.h"

namespace skerry::config {

using namespace std::chrono_literals;

Wrong any_path(const std::string& path) {
  if (path.size() > 4096) return "a path has at most 4096 bytes";
  if (path.find('\0') != std::string::npos) return "a path has no zero byte";
  return {};
}

// Towards the hub, in tags and as a folder's name.
Wrong plain_name(const std::string& name) {
  const bool plain = !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '.' || c == '_' || c == '-';
                     });
  if (plain) return {};
  return fmt::format(
      "'{}' is not a name: use 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit",
      name.substr(0, 64));
}

Wrong printable(const std::string& name) {
  if (name.size() > kNameBytesMax) return fmt::format("a name has at most {} bytes", kNameBytesMax);
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20; }))
    return "a name has no control characters";
  return {};
}

namespace {

Wrong some_path(const std::string& path) {
  if (path.empty()) return "a path is needed here, it is empty";
  return any_path(path);
}

Wrong stream_pattern(const std::string& name) {
  if (name.empty()) return "a stream's name is needed: write e.g. \"imu\", or \"*\" for all";
  const size_t star = name.find('*');
  if (star != std::string::npos && star + 1 != name.size()) {
    return fmt::format("'{}': a '*' may only stand at the end, e.g. \"pump*\"", name.substr(0, 64));
  }
  return printable(name);
}

Wrong ip_address(const std::string& address) {
  unsigned char buffer[sizeof(in6_addr)];
  if (::inet_pton(AF_INET, address.c_str(), buffer) == 1 || ::inet_pton(AF_INET6, address.c_str(), buffer) == 1)
    return {};
  return fmt::format("'{}' is not an IP address: write e.g. \"127.0.0.1\", or \"0.0.0.0\" for all interfaces",
                     address.substr(0, 64));
}

// "address:port" with an IP address; empty: none.
Wrong tcp_endpoint(const std::string& endpoint) {
  if (endpoint.empty()) return {};
  const size_t colon = endpoint.rfind(':');
  const std::string port = colon == std::string::npos ? "" : endpoint.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c); });
  std::string address = endpoint.substr(0, colon);
  if (address.size() > 1 && address.front() == '[' && address.back() == ']') address = address.substr(1, address.size() - 2);
  if (digits && std::stoi(port) <= 65535 && !ip_address(address)) return {};
  return fmt::format("'{}' is not an address with a port: write e.g. \"127.0.0.1:8472\"", endpoint.substr(0, 64));
}

// http://host[:port][/path]
Wrong hub_url(const std::string& url) {
  const auto wrong = [&] {
    return fmt::format("'{}' is not an address of a hub: write e.g. \"http://hub.example:8470\"",
                       url.substr(0, 128));
  };
  std::string_view rest = url;
  if (rest.starts_with("http://"))
    rest.remove_prefix(7);
  else if (rest.starts_with("https://"))
    rest.remove_prefix(8);
  else
    return wrong();
  const std::string_view authority = rest.substr(0, rest.find('/'));
  if (std::any_of(rest.begin(), rest.end(), [](unsigned char c) { return c <= 0x20 || c >= 0x7f; })) return wrong();
  const size_t colon = authority.ends_with(']') ? std::string_view::npos : authority.rfind(':');
  if (authority.substr(0, colon).empty() || url.size() > 1024) return wrong();
  if (colon == std::string_view::npos) return {};
  const std::string_view port = authority.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c); });
  if (!digits || std::stoi(std::string(port)) < 1 || std::stoi(std::string(port)) > 65535) return wrong();
  return {};
}

// A table of texts, e.g. tags = { site = "north" }.
template <typename T, typename At>
Key<T> texts_by_name(std::string name, At at, std::string doc) {
  return {std::move(name), "table of texts", std::move(doc),
          [at](const T& t) {
            std::string out;
            for (const auto& [key, value] : at(const_cast<T&>(t)))
              out += (out.empty() ? " " : ", ") + quoted(key) + " = " + quoted(value);
            return out.empty() ? std::string("{}") : "{" + out + " }";
          },
          [at](const Value& v, T& t) -> Wrong {
            const Table* table = v.as<Table>();
            if (table == nullptr) return expected("a table like { site = \"north\" }", v);
            if (table->size() > kTagsMax)
              return fmt::format("{} entries: at most {} are allowed", table->size(), kTagsMax);
            std::map<std::string, std::string> out;
            for (const Member& m : *table) {
              const std::string* found = m.value.front().template as<std::string>();
              if (found == nullptr)
                return fmt::format("'{}': {}", m.key, *expected("a text in quotes", m.value.front()));
              if (m.key.empty() || found->empty())
                return fmt::format("'{}': neither name nor value may be empty", m.key);
              if (Wrong wrong = printable(m.key)) return wrong;
              if (Wrong wrong = printable(*found)) return wrong;
              out[m.key] = *found;
            }
            at(t) = std::move(out);
            return {};
          }};
}

template <typename T, typename At>
Key<T> conditions(std::string name, At at, std::string doc) {
  return {std::move(name), "list of conditions", std::move(doc),
          [at](const T& t) {
            std::string out;
            for (const std::string& item : at(const_cast<T&>(t))) out += (out.empty() ? "" : ", ") + quoted(item);
            return "[" + out + "]";
          },
          [at](const Value& v, T& t) -> Wrong {
            const Array* array = v.as<Array>();
            if (array == nullptr) return expected("a list like [\"normal\", \"bearing\"]", v);
            if (array->size() > 1000) return "at most 1000 conditions are allowed";
            std::vector<std::string> out;
            for (const Value& item : *array) {
              const std::string* found = item.as<std::string>();
              if (found == nullptr) return expected("conditions as texts in quotes", item);
              const auto& known = plugins::kPumpConditions;
              if (std::find(known.begin(), known.end(), *found) == known.end()) {
                const std::string near = nearest(*found, known);
                return fmt::format(
                    "'{}' is not a condition: normal, imbalance, misalignment, bearing and cavitation are{}",
                    found->substr(0, 64), near.empty() ? "" : ", perhaps \"" + near + "\"");
              }
              out.push_back(*found);
            }
            at(t) = std::move(out);
            return {};
          }};
}

#define IN(options_type, member) \
  [](SourceConfig & c) -> auto& { return std::get<plugins::options_type>(c.options).member; }

using C = Config;
using S = SourceConfig;
constexpr const char* kFolder = "folder, relative to data_dir";
constexpr const char* kProgram = "file, relative to this one";

// One line per key, as wide as it needs to be.
// clang-format off
std::vector<Section<Config>> make_sections() {
  std::vector<Section<Config>> out;
  out.push_back({"node", "Who this node is and where its data lies.", {
    text<C>("name", AT(node.name), "name", plain_name, "Towards the hub. Two nodes of one hub must not share a name."),
    text<C>("data_dir", AT(node.data_dir), "folder, relative to the current one", some_path, "Everything the node keeps: store, models, jobs."),
  }});
  out.push_back({"http", "The REST API. There is no authentication yet: keep it on the loopback address or behind a gateway.", {
    text<C>("address", AT(node.http.address), "IP address", ip_address, "Where to listen."),
    whole<C>("port", AT(node.http.port), 0, 65535, "0: any free port."),
    bytes<C>("body_max", AT(node.http.body_bytes_max), 1 * KiB, 1 * GiB, "Larger request bodies are refused with 413."),
    bytes<C>("header_max", AT(node.http.header_bytes_max), 1 * KiB, 1 * MiB, "Larger request headers are refused with 431."),
    duration<C>("request_timeout", AT(node.http.request_timeout), 100ms, 1h, "From the first byte of a request to its last."),
    duration<C>("idle_timeout", AT(node.http.idle_timeout), 100ms, 24h, "Between two requests of a connection."),
    whole<C>("connections_max", AT(node.http.connections_max), 1, 100'000, "Further connections are refused with 503."),
    whole<C>("threads", AT(node.http.threads), 1, 64, "Requests that are handled at the same time."),
  }});
  out.push_back({"zeromq", "Inference over ZeroMQ, for callers in a control loop. There is no authentication: whoever reaches it may ask.", {
    flag<C>("enabled", AT(node.zmq.enabled), "Whether to listen at all."),
    text<C>("ipc", AT(node.zmq.ipc), kFolder, any_path, "Socket file for callers on this machine; empty: none."),
    text<C>("tcp", AT(node.zmq.tcp), "address:port", tcp_endpoint, "E.g. \"127.0.0.1:8472\"; empty: none."),
    bytes<C>("message_max", AT(node.zmq.message_bytes_max), 1 * KiB, 1 * GiB, "A peer that sends a larger frame is cut off."),
    whole<C>("messages_max", AT(node.zmq.messages_max), 1, 1'000'000, "That wait per peer and direction."),
    duration<C>("spin", AT(node.zmq.spin), 0s, 10ms,
                "While requests come this soon after an answer, the next one is awaited awake: faster, for up to a core of its own. 0s: never."),
  }});
  out.push_back({"storage", "The store. The defaults suit a device with 512 MB of memory.", {
    text<C>("path", AT(storage.path), kFolder, some_path, "The database."),
    flag<C>("repair", AT(node.repair_store), "A store that is too damaged to be opened is repaired at the start. Else the node does not start, and says what to do."),
    duration<C>("sync_interval", AT(storage.sync_interval), 1ms, 1h, "How much of a stream with durability \"interval\" a power cut may take."),
    bytes<C>("quota", AT(storage.quota_bytes), 0, 1024 * 1024 * GiB, "Disk for the records of all streams; 0 B: no quota. The oldest go first, of streams whose rule lets them."),
    bytes<C>("write_buffer", AT(storage.write_buffer_bytes), 64 * KiB, 1 * GiB, "Memory for records before they are sealed into a file."),
    bytes<C>("block_cache", AT(storage.block_cache_bytes), 0, 64 * GiB, "Memory for reading."),
    bytes<C>("wal_max", AT(storage.wal_bytes_max), 1 * MiB, 64 * GiB, "Disk for the write-ahead log."),
    whole<C>("open_files_max", AT(storage.open_files_max), 16, 100'000, "Files that the database keeps open."),
    duration<C>("acked_grace", AT(storage.acked_grace), 0s, 24h * 365, "Outbox entries stay for this long after the hub acknowledged them."),
    whole<C>("examples_per_class_max", AT(storage.examples_per_class_max), 1, 1'000'000, "Labelled windows per model, class and use; easy and old ones go first."),
    bytes<C>("examples_max", AT(storage.examples_bytes_max), 64 * KiB, 64 * GiB, "Disk for the labelled windows of a model; beyond it the largest class gives way."),
    time<C>("time_min", AT(storage.time_min_ns), false, "Older records are refused: most likely their time has the wrong unit."),
    duration<C>("time_ahead_max", AT(storage.time_ahead_max), 0s, 24h * 3650, "Records newer than now plus this are refused."),
  }});
  out.push_back({"inference", "Models and what answers with them.", {
    text<C>("models", AT(inference.models), kFolder, some_path, "Model packages: NAME/VERSION/."),
    text<C>("torch_runtime", AT(inference.torch_runtime), kProgram, any_path, "libskerry_torch_runtime.so; empty: beside the program."),
    bytes<C>("package_max", AT(inference.package_bytes_max), 1 * KiB, 64 * GiB, "Larger model packages are refused."),
    whole<C>("batch_max", AT(inference.batch_max), 1, 65536, "Rows of the first dimension in one inference request."),
    whole<C>("threads", AT(inference.threads), 1, 64, "That answer requests which had to wait for a busy model; one that meets an idle model does not wait for them."),
    whole<C>("instances", AT(inference.queue.instances), 1, 64, "Requests that one model answers at the same time; further ones wait."),
    whole<C>("queue_max", AT(inference.queue.queue_max), 0, 100'000, "Requests that wait for one model; further ones are refused with 503."),
    whole<C>("together_max", AT(inference.queue.together_max), 1, 65536, "Rows of waiting requests that are answered together (dynamic batching); 1: each alone."),
    duration<C>("batch_delay", AT(inference.queue.batch_delay), 0s, 10s, "Every request waits up to this long for others to be answered with; 0s: none waits for that."),
    duration<C>("timeout", AT(inference.queue.timeout), 1ms, 1h, "A request that names no timeout is refused when its answer is not there by then."),
  }});
  out.push_back({"learning", "Fine-tuning on the node, from its own labels.", {
    flag<C>("enabled", AT(learning.enabled), "Whether to train at all."),
    text<C>("jobs", AT(learning.jobs), kFolder, some_path, "A folder per training job."),
    text<C>("worker", AT(learning.worker), kProgram, any_path, "skerry-worker; empty: beside the program."),
    duration<C>("check_interval", AT(learning.check_interval), 10ms, 24h, "How often to ask whether there is reason to train."),
    duration<C>("job_time_max", AT(learning.job_time_max), 1s, 24h * 7, "A job that takes longer is stopped and counted as failed."),
    bytes<C>("job_memory_max", AT(learning.job_memory_bytes_max), 64 * MiB, 1024 * GiB, "A worker that uses more is stopped."),
    whole<C>("jobs_kept", AT(learning.jobs_kept), 0, 10'000, "Finished job folders to keep; older ones are removed."),
    number<C>("idle_cpu_below", AT(learning.idle_cpu_below), 0, 1, "Training may start below this share of all cores (used by others) ..."),
    number<C>("busy_cpu_above", AT(learning.busy_cpu_above), 0, 1, "... and pauses above this one."),
    number<C>("idle_requests_below", AT(learning.idle_requests_below), 0, 1e9, "The same with inferences per second."),
    number<C>("busy_requests_above", AT(learning.busy_requests_above), 0, 1e9, "The same with inferences per second."),
    number<C>("idle_celsius_below", AT(learning.idle_celsius_below), 0, 200, "The same with the temperature of the warmest zone."),
    number<C>("busy_celsius_above", AT(learning.busy_celsius_above), 0, 200, "The same with the temperature of the warmest zone."),
    flag<C>("on_battery", AT(learning.on_battery), "Whether to train without mains as well."),
    bytes<C>("memory_available_min", AT(learning.memory_available_min), 0, 1024 * GiB, "Training does not start with less memory free, and pauses below half of it."),
    duration<C>("idle_for", AT(learning.idle_for), 0s, 24h, "The device must have been idle for this long."),
    duration<C>("holdout_stretch", AT(learning.holdout_stretch), 1s, 24h * 30, "Labels are held out for judging candidates in whole stretches of time of this length."),
    number<C>("holdout_share", AT(learning.holdout_share), 0.01, 0.9, "Share of the stretches that is held out."),
    text<C>("trusted_sources", AT(learning.trusted_sources), "names, with commas between", printable, "Sources of labels, the most trusted first. Of labels that conflict the more trusted counts, else the newer."),
  }});
  out.push_back({"sync", "Store and forward to the hub.", {
    flag<C>("enabled", AT(sync.enabled), "false: nothing leaves this node."),
    text<C>("hub", AT(sync.hub), "http or https address", hub_url, "Where the hub listens."),
    text<C>("ca_file", AT(sync.proofs.ca), "file, relative to this one", any_path, "PEM file of the authority of an https hub's certificate. Empty: those that the system trusts."),
    text<C>("certificate_file", AT(sync.proofs.certificate), "file, relative to this one", any_path, "PEM file of this node's certificate, shown to a hub that asks for one. Empty: none."),
    text<C>("key_file", AT(sync.proofs.key), "file, relative to this one", any_path, "PEM file of its key."),
    text<C>("token_file", AT(sync.proofs.token), "file, relative to this one", any_path, "A file with the token that the hub gave this node (`skerry-hub --new-token`). Empty: none."),
    bytes<C>("rate_max", AT(sync.rate_bytes_per_second), 0, 64 * GiB, "Cap on the uplink, per second; 0: none."),
    bytes<C>("burst", AT(sync.burst_bytes), 1 * KiB, 1 * GiB, "What may be sent at once under the cap."),
    bytes<C>("batch_max", AT(sync.batch_bytes_max), 1 * KiB, 16 * MiB, "Of one message, before compression."),
    duration<C>("request_timeout", AT(sync.request_timeout), 100ms, 1h, "An answer that takes longer counts as lost."),
    duration<C>("backoff_min", AT(sync.backoff_min), 1ms, 24h, "After a failure, wait at least this long ..."),
    duration<C>("backoff_max", AT(sync.backoff_max), 1ms, 24h * 7, "... and at most this long, growing in between."),
    duration<C>("probe_interval", AT(sync.probe_interval), 100ms, 24h, "Says hello when there is nothing to send."),
    text<C>("policy_file", AT(sync.policy_file), "file, relative to this one", any_path, "A file with the policy alone, watched for changes: it takes the place of the policy below. Empty: none."),
  }});
  out.push_back({"log", "Lines for people, on the standard error output.", {
    choice<C>("level", AT(log.level),
              std::vector<std::pair<std::string, log::Level>>{{"debug", log::Level::debug}, {"info", log::Level::info}, {"warn", log::Level::warn}, {"error", log::Level::error}, {"off", log::Level::off}},
              "The least urgent lines to write."),
    flag<C>("json", AT(log.json), "A JSON object per line."),
    whole<C>("lines_per_minute_max", AT(log.lines_per_minute_max), 1, 1'000'000, "Of one level; what is more is counted and summed up in one line."),
  }});
  return out;
}

Key<S> operator_share() {
  return number<S>("operator_share", AT(operator_share), 0, 1,
                   "This share of what is known to be true is given as labels, as an operator would; 0: none.");
}

std::vector<Section<SourceConfig>> make_source_sections() {
  std::vector<Section<SourceConfig>> out;
  auto name = [] { return text<S>("name", AT(name), "name", plain_name, "For status and logs; each source needs its own. Default: its type."); };
  auto start = [](auto at) { return time<S>("start", at, true, "Time of the first record; empty: now."); };
  out.push_back({"source", "The machine's own sensors: cpu, memory, disk, network, temperature.", {
    name(),
    number<S>("rate_hz", IN(HostOptions, rate_hz), 1, 10, "Records per second of each stream."),
    text<S>("root", IN(HostOptions, root), "folder", some_path, "Where proc and sys lie, e.g. in a container that sees its host's."),
  }});
  out.push_back({"source", "Recorded data: a CSV file, or a folder with meta.json, index.csv and an .npy.", {
    name(), operator_share(),
    text<S>("path", IN(ReplayOptions, path), "file or folder, relative to this file", some_path, "What to play."),
    number<S>("speed", IN(ReplayOptions, speed), 0, 1e6, "Times real time; 0: as fast as possible."),
    text<S>("stream", IN(ReplayOptions, stream), "stream name", printable, "Empty: from the file's name."),
    texts_by_name<S>("tags", IN(ReplayOptions, tags), "For every record."),
    texts_by_name<S>("select", IN(ReplayOptions, select), "Index columns that must match, e.g. { subject = \"4\" } or { subject = \"1,2,3\" }; folders only."),
    start(IN(ReplayOptions, start_ns)),
    duration<S>("batch", IN(ReplayOptions, batch), 1ms, 24h, "Record time that is handed over at once."),
  }});
  out.push_back({"source", "A simulated pump with a three-axis accelerometer, for trying things out.", {
    name(), operator_share(),
    text<S>("machine", IN(PumpOptions, machine), "name", plain_name, "Which machine: its tag, and what is particular about it."),
    whole<S>("seed", IN(PumpOptions, seed), 0, std::numeric_limits<int64_t>::max(), "Another seed, another machine of that name."),
    number<S>("rate_hz", IN(PumpOptions, rate_hz), 100, 10'000, "Of the accelerometer."),
    number<S>("speed", IN(PumpOptions, speed), 0, 1e6, "Times real time; 0: as fast as possible."),
    duration<S>("state_length", IN(PumpOptions, state_length), 100ms, 24h * 365, "How long a condition lasts before the next is drawn."),
    number<S>("drift_per_hour", IN(PumpOptions, drift_per_hour), 0, 10, "Drift of the sensor's gain and offset."),
    duration<S>("batch", IN(PumpOptions, batch), 1ms, 1h, "Record time that is handed over at once."),
    start(IN(PumpOptions, start_ns)),
    conditions<S>("script", IN(PumpOptions, script), "Conditions in turn instead of drawing them: normal, imbalance, misalignment, bearing, cavitation."),
  }});
  return out;
}

// clang-format on

}  // namespace

const std::vector<Section<Config>>& sections() {
  static const std::vector<Section<Config>> all = make_sections();
  return all;
}

const Section<storage::StreamRule>& stream_section() {
  using R = storage::StreamRule;
  using storage::Durability;
  using storage::OnFull;
  // clang-format off
  static const Section<R> section{"storage.stream", "Rules for streams; the first whose name matches wins. Without any, every stream has the values below.", {
    text<R>("name", AT(name), "stream name, may end in *", stream_pattern, "Which streams."),
    choice<R>("durability", AT(durability),
              std::vector<std::pair<std::string, Durability>>{{"batch", Durability::batch}, {"interval", Durability::interval}, {"os", Durability::os}},
              "What an acknowledged record survives: batch: a power cut; interval: a power cut, but for the last sync_interval; os: a crash of the program."),
    flag<R>("sync", AT(sync), "Whether its records go to the hub."),
    duration<R>("retention", AT(retention), 0s, 24h * 36500, "Records go when they are this old; 0s: never."),
    bytes<R>("quota", AT(quota_bytes), 0, 1024 * 1024 * GiB, "Disk for all streams of this rule together; 0 B: no quota."),
    choice<R>("on_full", AT(on_full),
              std::vector<std::pair<std::string, OnFull>>{{"reject", OnFull::reject}, {"drop_oldest", OnFull::drop_oldest}, {"drop_newest", OnFull::drop_newest}, {"roll_up", OnFull::roll_up}},
              "What happens when the quota is full: new records are refused, the oldest go, new ones are dropped, or the oldest are rolled up: "
              "minimum, maximum, mean and count of every second are kept, then of every minute, then of every hour. What is lost stands in the loss ledger."),
    flag<R>("drop_unsent", AT(drop_unsent), "Whether retention and quota may take, or roll up, what the hub does not have yet. If not, new records are refused instead."),
  }};
  // clang-format on
  return section;
}

const Section<storage::OutboxRule>& outbox_section() {
  using R = storage::OutboxRule;
  using storage::OnFull;
  using storage::OutboxClass;
  const std::vector<std::pair<std::string, OutboxClass>> classes = {
      {"alarm", OutboxClass::alarm},         {"label", OutboxClass::label},     {"model", OutboxClass::model},
      {"telemetry", OutboxClass::telemetry}, {"backlog", OutboxClass::backlog}, {"diagnostics", OutboxClass::diagnostics}};
  // clang-format off
  static const Section<R> section{"storage.outbox", "Rules for what waits for the hub, per class. Without any, everything waits until the hub has it.", {
    choice<R>("class", AT(outbox_class), classes, "Which entries: records and predictions are telemetry."),
    duration<R>("ttl", AT(ttl), 0s, 24h * 36500, "What has waited this long is dropped: the hub is told how much, and the loss ledger has it; 0s: never."),
    bytes<R>("quota", AT(quota_bytes), 0, 1024 * 1024 * GiB, "Of what waits, as payload bytes; 0 B: no quota."),
    choice<R>("on_full", AT(on_full),
              std::vector<std::pair<std::string, OnFull>>{{"reject", OnFull::reject}, {"drop_oldest", OnFull::drop_oldest}, {"drop_newest", OnFull::drop_newest}},
              "What happens when the quota is full: what is new is refused with everything that came with it, the oldest is dropped and the hub told so, or "
              "what is new does not go to the hub. What is lost stands in the loss ledger; records stay in their stream."),
  }};
  // clang-format on
  return section;
}

const Section<SourceConfig>& source_section(SourceType type) {
  static const std::vector<Section<SourceConfig>> all = make_source_sections();
  return all[static_cast<size_t>(type)];
}

SourceConfig default_source(SourceType type) {
  SourceConfig out;
  out.name = kSourceTypes[static_cast<size_t>(type)];
  switch (type) {
    case SourceType::host:
      out.options = plugins::HostOptions{};
      break;
    case SourceType::replay:
      out.options = plugins::ReplayOptions{};
      break;
    case SourceType::simulate:
      out.options = plugins::PumpOptions{};
      break;
  }
  return out;
}

// Levenshtein's distance, adjacent swaps counting once (Damerau 1964); a third of the letters may be wrong.
std::string nearest(const std::string& wanted, const std::vector<std::string>& known) {
  if (wanted.size() > 64) return "";
  std::string best;
  size_t best_distance = std::max<size_t>(1, wanted.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t n = wanted.size(), m = candidate.size();
    std::vector<std::vector<size_t>> d(n + 1, std::vector<size_t>(m + 1));
    for (size_t i = 0; i <= n; ++i) d[i][0] = i;
    std::iota(d[0].begin(), d[0].end(), size_t{0});
    for (size_t i = 1; i <= n; ++i) {
      for (size_t j = 1; j <= m; ++j) {
        d[i][j] =
            std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (wanted[i - 1] != candidate[j - 1])});
        if (i > 1 && j > 1 && wanted[i - 1] == candidate[j - 2] && wanted[i - 2] == candidate[j - 1]) {
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
      }
    }
    if (d[n][m] < best_distance) {
      best = candidate;
      best_distance = d[n][m];
    }
  }
  return best;
}

}  // namespace skerry::config
