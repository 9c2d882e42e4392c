// What the world throws at the real programs. In each case: a clear refusal, nothing lost, and the daemon stays up.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iostream>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "base/http_server.h"
#include "base/random.h"
#include "inference/package.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/raw_connection.h"
#include "tests/e2e/support/records.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::e2e;

namespace {

using Steady = std::chrono::steady_clock;

constexpr uint64_t kMiB = 1 << 20;

Batch records(int64_t from, size_t count, size_t padding = 0) {
  static const int64_t base = system_clock().now_ns() - int64_t{7'200'000'000'000};
  Batch batch;
  batch.series = {"probe", {{"device", "a"}}};
  std::vector<double> values;
  std::vector<std::string> notes;
  Random random(static_cast<uint64_t>(from) + 1);
  for (size_t i = 0; i < count; ++i) {
    batch.times.push_back(base + (from + static_cast<int64_t>(i)) * 1000);
    values.push_back(random.normal());
    std::string note(padding, ' ');
    for (char& c : note) c = static_cast<char>('a' + random.below(26));  // does not compress well
    notes.push_back(note);
  }
  batch.columns = {{"x", values, {}}};
  if (padding > 0) batch.columns.push_back({"note", notes, {}});
  return batch;
}

std::unique_ptr<http::Client> client_of(const Daemon& daemon) {
  auto client = http::Client::open(daemon.url(), {.timeout = milliseconds(10'000)});
  REQUIRE(client.ok());
  return std::move(client).value();
}

void must_start(Daemon& daemon) {
  Status started = daemon.start();
  INFO((started.ok() ? "" : started.error().message));
  REQUIRE(started.ok());
}

void must_take(http::Client& client, const Batch& batch) {
  std::string why;
  Written written = write_lines(client, to_line_protocol(batch), &why);
  INFO(why);
  REQUIRE(written == Written::acknowledged);
}

void must_stop_cleanly(Daemon& daemon) {
  REQUIRE(daemon.running());
  auto exit = daemon.terminate();
  REQUIRE(exit.has_value());
  CHECK(exit->text() == "exit code 0");
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Sends until the server has had enough. Returns how much it let us send.
uint64_t send_until_refused(RawConnection& connection, const std::string& head, bool chunked, uint64_t total) {
  std::string block(256 << 10, 'x');
  std::string framed = chunked ? fmt::format("{:x}\r\n", block.size()) + block + "\r\n" : block;
  if (!connection.send(head).ok()) return 0;
  uint64_t sent = 0;
  while (sent < total && connection.send(framed).ok()) sent += block.size();
  return sent;
}

}  // namespace

TEST_CASE("hostile: a body of 1 GB is refused early, and memory stays bounded") {
  test::TempDir folder;
  Daemon daemon(folder.path(), {.http = "body_max = \"4 MiB\"\n"});
  must_start(daemon);
  auto client = client_of(daemon);
  must_take(*client, records(0, 10));
  const uint64_t before = daemon.process().resident_bytes();
  const std::string line = "POST /api/v2/write HTTP/1.1\r\nHost: a\r\n";

  SECTION("announced") {
    auto connection = RawConnection::open(daemon.port());
    REQUIRE(connection.ok());
    REQUIRE(connection.value().send(line + "Content-Length: 1073741824\r\n\r\n").ok());
    auto reply = connection.value().receive();
    REQUIRE(reply.ok());
    CHECK(reply.value().status == 413);
    CHECK(has(reply.value().body, "error"));
    CHECK(connection.value().closed_by_server(milliseconds(5000)));
  }
  SECTION("announced, and sent anyway") {
    auto connection = RawConnection::open(daemon.port());
    REQUIRE(connection.ok());
    CHECK(send_until_refused(connection.value(), line + "Content-Length: 1073741824\r\n\r\n", false, 1024 * kMiB) < 64 * kMiB);
  }
  SECTION("in chunks, without saying how much") {
    auto connection = RawConnection::open(daemon.port());
    REQUIRE(connection.ok());
    CHECK(send_until_refused(connection.value(), line + "Transfer-Encoding: chunked\r\n\r\n", true, 1024 * kMiB) < 64 * kMiB);
  }
  SECTION("a header without end") {
    auto connection = RawConnection::open(daemon.port());
    REQUIRE(connection.ok());
    CHECK(send_until_refused(connection.value(), "GET / HTTP/1.1\r\nX-Long: ", false, 1024 * kMiB) < 64 * kMiB);
  }
  INFO("resident " << before / kMiB << " MiB before, peak " << daemon.process().peak_resident_bytes() / kMiB << " MiB");
  CHECK(daemon.process().peak_resident_bytes() < before + 48 * kMiB);
  must_take(*client, records(10, 10));
  must_stop_cleanly(daemon);
}

TEST_CASE("hostile: half-sent requests time out, and nobody else notices") {
  test::TempDir folder;
  Daemon daemon(folder.path(), {.http = "request_timeout = \"500ms\"\nidle_timeout = \"1s\"\n"});
  must_start(daemon);
  std::vector<RawConnection> halves;
  for (int i = 0; i < 50; ++i) {
    auto connection = RawConnection::open(daemon.port());
    REQUIRE(connection.ok());
    // Some stop in the header, some in the body, some say nothing at all.
    const char* half = i % 3 == 0 ? "POST /api/v2/write HTTP/1.1\r\nContent-Le" : i % 3 == 1 ? "POST /api/v2/write HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nprobe x=" : "";
    REQUIRE(connection.value().send(half).ok());
    halves.push_back(std::move(connection).value());
  }
  auto client = client_of(daemon);
  must_take(*client, records(0, 10));
  const auto until = Steady::now() + milliseconds(15'000);
  for (RawConnection& half : halves) {
    auto left = std::chrono::duration_cast<milliseconds>(until - Steady::now());
    REQUIRE(half.closed_by_server(std::max(left, milliseconds(1))));
  }
  must_take(*client_of(daemon), records(10, 10));
  must_stop_cleanly(daemon);
  auto held = read_node_store(daemon.store(), "island");
  REQUIRE(held.ok());
  CHECK(held.value().records.records() == 20);
}

TEST_CASE("hostile: wrong requests are refused with a remedy, and nothing of them is stored") {
  test::TempDir folder;
  Daemon daemon(folder.path(), {});
  must_start(daemon);
  auto client = client_of(daemon);
  const std::string now = std::to_string(system_clock().now_ns());
  const std::vector<std::string> bad_writes = {
      "probe\n", "probe x=\n", "probe x=1 notatime\n", "probe x=NaN " + now + "\n", "probe x=1 1000\n" /* 1970 */,
      "probe x=1 7258118400000000000\n" /* 2200 */, "probe x=\"open " + now + "\n",
      "probe x=1 " + now + "\nprobe x=\n" /* the good line goes with the bad one */, std::string("\0\xff\xfe", 3)};
  for (const std::string& body : bad_writes) {
    auto response = client->request("POST", "/api/v2/write?precision=ns", body, {{"Content-Type", "text/plain"}});
    INFO(body);
    REQUIRE(response.ok());
    INFO(response.value().body);
    CHECK(response.value().status == 400);
    CHECK(response.value().body.size() > 20);
  }
  for (const std::string body : {R"({"inputs":[]})", R"({"inputs":[{"name":"input","shape":[1,-3],"datatype":"FP32","data":[1]}]})", "{", ""}) {
    auto response = client->request("POST", "/v2/models/none/infer", body, {{"Content-Type", "application/json"}});
    REQUIRE(response.ok());
    INFO(body << " -> " << response.value().body);
    CHECK(response.value().status >= 400);
    CHECK(response.value().status < 500);
    CHECK(has(response.value().body, "error"));
  }
  must_stop_cleanly(daemon);
  auto held = read_node_store(daemon.store(), "island");
  REQUIRE(held.ok());
  CHECK(held.value().records.records() == 0);
}

TEST_CASE("hostile: a damaged model package does not keep the daemon from starting, ingesting and saying so") {
  test::TempDir folder;
  Daemon daemon(folder.path(), {});
  inference::PackageInfo info;
  info.name = "har";
  info.version = 1;
  info.architecture = "cnn1d";
  info.labels = {"a", "b"};
  info.window.stream = "probe";
  info.window.fields = {"x"};
  info.window.rows = 8;
  info.window.stride = 8;
  info.window.period = std::chrono::milliseconds(1);
  info.window.mean = {0};
  info.window.deviation = {1};
  info.engine = "onednn";
  const std::filesystem::path package = daemon.models() / "har" / "1";
  std::filesystem::create_directories(package);
  REQUIRE(write_file_atomic(package / "model.pt", std::string(5000, 'p')).ok());
  REQUIRE(write_file_atomic(package / "model.int8.pt", std::string(5000, 'q')).ok());
  Status sealed = inference::seal_package(package, info);
  INFO((sealed.ok() ? "" : sealed.error().message));
  REQUIRE(sealed.ok());

  SECTION("truncated") { std::filesystem::resize_file(package / "model.int8.pt", 1234); }
  SECTION("a wrong checksum") { REQUIRE(write_file_atomic(package / "model.int8.pt", std::string(4999, 'q') + "r").ok()); }
  SECTION("a file is gone") { std::filesystem::remove(package / "model.int8.pt"); }
  SECTION("no manifest") { std::filesystem::remove(package / "manifest"); }
  SECTION("whole, but not a model") {}
  must_start(daemon);
  auto client = client_of(daemon);
  must_take(*client, records(0, 100));
  std::string said = daemon.process().output();
  INFO(said);
  CHECK(has(said, "har"));
  auto response = client->request("POST", "/v2/models/har/infer", infer_body({1, 1, 8}, std::vector<float>(8, 0.5f)));
  REQUIRE(response.ok());
  INFO(response.value().body);
  CHECK(response.value().status >= 400);
  CHECK(has(response.value().body, "error"));
  must_stop_cleanly(daemon);
  must_start(daemon);  // no boot loop
  must_stop_cleanly(daemon);
}

TEST_CASE("hostile: ten mistakes in a config are all reported at once, with line, column and remedy, by both programs") {
  test::TempDir folder;
  const std::filesystem::path file = folder / "node.toml";
  std::ofstream(file) << "[node]\n"
                         "name = 7\n"                                  // 1 not a string
                         "data_dri = \"data\"\n"                       // 2 unknown key
                         "[http]\n"
                         "port = 99999\n"                              // 3 out of range
                         "body_max = \"16 potatoes\"\n"          // 4 unit
                         "idle_timeout = \"soon\"\n"                   // 5 duration
                         "[storage]\n"
                         "sync_interval = -5\n"                        // 6 not a duration
                         "[lerning]\n"                                 // 7 unknown table
                         "enabled = true\n"
                         "[learning]\n"
                         "holdout_share = 7.5\n"                       // 8 over 1
                         "[sync]\n"
                         "hub = \"ftp://nowhere\"\n"                   // 9 not http
                         "backoff_min = \"1 fortnight\"\n"             // 10 unit
                         "[[source]]\n"
                         "type = \"telepathy\"\n";                     // 11 unknown kind
  for (auto& [program, arguments] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"skerry", {"check-config", file.string()}}, {"skerryd", {"--config", file.string()}}}) {
    auto finished = run_program(program, arguments, folder.path(), milliseconds(10'000));
    INFO(program);
    REQUIRE(finished.ok());
    const std::string& said = finished.value().output;
    INFO(said);
    CHECK(finished.value().exit.code > 0);
    size_t diagnostics = 0;
    for (size_t at = said.find("node.toml:"); at != std::string::npos; at = said.find("node.toml:", at + 1)) ++diagnostics;
    CHECK(diagnostics >= 10);
    CHECK(has(said, "node.toml:3:"));
    CHECK(has(said, "data_dir"));   // the nearest known name
    CHECK(has(said, "learning"));
  }
}

TEST_CASE("hostile: a hub that answers garbage costs nothing, and a good hub gets everything later") {
  test::TempDir folder;
  std::atomic<uint64_t> asked{0};
  Random random(7);
  std::mutex mutex;
  auto garbage = http::Server::open({}, [&](http::Request&) {
    std::lock_guard lock(mutex);
    ++asked;
    http::Response response;
    switch (asked % 5) {
      case 0: response.status = 500; break;
      case 1: response.status = 302; break;
      case 2: break;  // 200, and nothing
      default: break;
    }
    if (asked % 5 > 2) response.body.resize(random.below(200'000));
    for (char& c : response.body) c = static_cast<char>(random.below(256));
    return response;
  });
  REQUIRE(garbage.ok());
  std::thread serving([&] { garbage.value()->run(); });
  Hub hub(folder / "hub");
  REQUIRE(hub.start().ok());
  auto proxy = test::ChaosProxy::start("127.0.0.1", garbage.value()->port());
  REQUIRE(proxy.ok());
  Daemon daemon(folder / "node", {.hub = proxy.value()->url(),
                                  .sync = "request_timeout = \"1s\"\nbackoff_min = \"20ms\"\nbackoff_max = \"100ms\"\nprobe_interval = \"100ms\"\n"});
  must_start(daemon);
  auto client = client_of(daemon);
  RecordSet sent;
  for (int i = 0; i < 20 || (asked < 30 && i < 400); ++i) {
    Batch batch = records(i * 50, 50);
    must_take(*client, batch);
    sent.add(batch);
    std::this_thread::sleep_for(milliseconds(25));
  }
  CHECK(asked >= 10);
  auto now = view(*client);
  REQUIRE(now.ok());
  CHECK(now.value().outbox_entries > 0);
  CHECK(daemon.process().peak_resident_bytes() < 200 * kMiB);

  proxy.value()->retarget(hub.port());
  proxy.value()->reset_connections();
  const auto until = Steady::now() + milliseconds(30'000);
  while (now.value().outbox_entries > 0 && Steady::now() < until) {
    std::this_thread::sleep_for(milliseconds(50));
    now = view(*client);
    REQUIRE(now.ok());
  }
  CHECK(now.value().outbox_entries == 0);
  must_stop_cleanly(daemon);
  hub.terminate();
  garbage.value()->stop();
  serving.join();
  auto held = read_hub_store(hub.store(), "island");
  REQUIRE(held.ok());
  Difference difference = compare(sent, {}, held.value().records);
  INFO(difference.text());
  CHECK(difference.none());
}

TEST_CASE("hostile: a full disk refuses records with a remedy, loses none that were acknowledged, and ends by itself") {
  test::TempDir folder;
  const std::filesystem::path disk = folder / "disk";
  std::filesystem::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=48m") != 0) {
    std::cout << "SKIPPED: a small disk can't be mounted here (needs root and CAP_SYS_ADMIN)\n";
    return;
  }
  struct Unmount {
    std::filesystem::path disk;
    ~Unmount() { ::umount2(disk.c_str(), MNT_DETACH); }
  } unmount{disk};
  REQUIRE(write_file_atomic(disk / "ballast", std::string(20 * kMiB, '\0')).ok());
  Daemon daemon(disk / "node", {});
  must_start(daemon);
  auto client = client_of(daemon);
  RecordSet acknowledged, unknown;
  std::string why;
  bool refused = false;
  int64_t at = 0;
  for (int i = 0; i < 400 && !refused; ++i, at += 200) {
    Batch batch = records(at, 200, 1000);
    Written written = write_lines(*client, to_line_protocol(batch), &why);
    REQUIRE(written != Written::unknown);
    if (written == Written::acknowledged) acknowledged.add(batch);
    else unknown.add(batch);
    refused = written == Written::refused;
  }
  REQUIRE(refused);
  INFO(why);
  CHECK(has(why, "507"));
  CHECK(ready(daemon.port()));
  CHECK(view(*client).ok());

  std::filesystem::remove(disk / "ballast");
  bool taken = false;
  const auto until = Steady::now() + milliseconds(30'000);
  while (!taken && Steady::now() < until) {
    Batch batch = records(at, 5);
    at += 5;
    taken = write_lines(*client, to_line_protocol(batch), &why) == Written::acknowledged;
    (taken ? acknowledged : unknown).add(batch);
    std::this_thread::sleep_for(milliseconds(200));
  }
  INFO(why);
  CHECK(taken);
  must_stop_cleanly(daemon);
  auto held = read_node_store(daemon.store(), "island");
  REQUIRE(held.ok());
  Difference difference = compare(acknowledged, unknown, held.value().records);
  INFO(difference.text());
  CHECK(difference.missing == 0);
  CHECK(difference.foreign == 0);
}
