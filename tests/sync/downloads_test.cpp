// A model's way from the hub to the node, in pieces, over everything that goes wrong meanwhile. Store, syncer, policy and the hub's API are real.
#include <catch2/catch.hpp>

#include <fstream>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "hub/api.h"
#include "sync/downloads.h"
#include "tests/sync/make.h"
#include "tests/sync/served_hub.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::SimClock;
using skerry::test::TempDir;
namespace fs = std::filesystem;

namespace {

using Files = std::map<std::string, std::string>;

std::string random_bytes(size_t n, uint64_t seed) {
  Random random(seed);
  std::string bytes(n, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

void write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

std::string manifest_of(const Files& files) {
  std::string text;
  for (const auto& [name, content] : files) text += sha256_hex(content) + "  " + std::to_string(content.size()) + "  " + name + "\n";
  return text;
}

void publish(const fs::path& models, const std::string& version, const Files& files) {
  for (const auto& [name, content] : files) write(models / "har" / version / name, content);
  write(models / "har" / version / "manifest", manifest_of(files));
}

// The hub's API without a network between; pieces are lost and damaged by order.
class Line final : public Uplink {
 public:
  struct Faults {
    int lose_every = 0;               // of the pieces, the answer
    std::function<void(ChunkReply&)> spoil;
    uint64_t bytes = 0, pieces = 0;   // that came
    uint32_t largest = 0;
  };
  Line(hub::Api& api, Faults& faults) : api_(api), faults_(faults) {}
  Result<HelloReply> hello(const Hello& message) override {
    SKERRY_ASSIGN(const std::string answer, post("/v1/sync/hello", encode(message)));
    return decode_hello_reply(answer);
  }
  Result<ChunkReply> chunk(const ChunkAsk& message) override {
    ++asked_;
    SKERRY_ASSIGN(const std::string answer, post("/v1/sync/chunk", encode(message)));
    if (faults_.lose_every > 0 && asked_ % faults_.lose_every == 0) return fail(Code::unavailable, "no answer");
    SKERRY_ASSIGN(ChunkReply reply, decode_chunk_reply(answer));
    ++faults_.pieces;
    faults_.bytes += reply.data.size();
    faults_.largest = std::max(faults_.largest, message.bytes_max);
    if (faults_.spoil) faults_.spoil(reply);
    return reply;
  }
  uint64_t begin(uint64_t, sync::Batch, Lane) override { throw std::logic_error("nothing is queued here"); }
  std::vector<Answer> answers(Duration) override { return {}; }
  std::vector<Answer> give_up() override { return {}; }
  Traffic traffic() const override { return {}; }

 private:
  Result<std::string> post(const std::string& path, std::string body) {
    http::Request request{.method = "POST", .path = path, .query = {}, .headers = {}, .path_parameters = {}, .body = std::move(body), .peer = {}};
    const http::Response response = api_.handle(request);
    if (response.status == 200) return response.body;
    return fail(response.status < 500 ? Code::invalid : Code::unavailable, "{} {}", response.status, response.body);
  }
  hub::Api& api_;
  Faults& faults_;
  int asked_ = 0;
};

struct Island {
  SimClock clock;
  TempDir dir;
  std::unique_ptr<hub::Receiver> receiver;
  std::unique_ptr<hub::Api> api;
  Line::Faults faults;
  sync::Options options;
  std::function<LinkFacts(const BearerPolicy&)> link;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<Downloads> downloads;
  std::unique_ptr<Syncer> syncer;
  Files installed;
  int installs = 0;

  Island() {
    start_hub();
    start();
  }
  fs::path models() const { return dir / "models"; }
  void start_hub() {
    api.reset();
    receiver.reset();
    auto opened = hub::Receiver::open({.path = dir / "hub", .name = "hub", .file_system = skerry::test::hasty_file_system()}, clock);
    REQUIRE(opened.ok());
    receiver = std::move(*opened);
    api = std::make_unique<hub::Api>(*receiver, hub::ApiOptions{.models = models()}, clock);
  }
  void start() {
    stop();
    storage::Options store_options;
    store_options.path = dir / "store";
    store_options.node = "pump-1";
    store_options.file_system = skerry::test::hasty_file_system();
    auto opened = storage::Store::open(store_options, clock);
    REQUIRE(opened.ok());
    store = std::move(*opened);
    DownloadOptions wanted{.folder = dir / "incoming", .wanted = [this](const Offer&) { return installs == 0; },
                           .install = [this](const fs::path& folder) -> Status {
                             ++installs;
                             for (const auto& file : fs::directory_iterator(folder)) {
                               auto content = read_file(file.path(), 1 << 30);
                               REQUIRE(content.ok());
                               installed[file.path().filename().string()] = *content;
                             }
                             return {};
                           }};
    downloads = std::make_unique<Downloads>(wanted);
    syncer = std::make_unique<Syncer>(*store, std::make_unique<Line>(*api, faults), options, clock, 1,
                                      Environment{.describe = {}, .link = link, .device = {}, .downloads = downloads.get()});
  }
  void stop() {
    syncer.reset();
    downloads.reset();
    store.reset();
  }
  void run(Duration time, const std::function<bool()>& until) {
    const SteadyTime end = clock.steady() + time;
    for (int i = 0; i < 20'000 && !until() && clock.steady() < end; ++i) clock.advance(syncer->step());
  }
};

}  // namespace

TEST_CASE("sync: a model comes in pieces over lost answers, a node and a hub that are killed, and is handed over once, whole") {
  Island island;
  const Files files{{"model.pt", random_bytes(700'000, 1)}, {"model.toml", "name = \"har\"\n"}, {"plan.bin", random_bytes(300'000, 2)}, {"empty", ""}};
  publish(island.models(), "7", files);
  island.faults.lose_every = 4;
  island.options.backoff_max = 5s;
  island.start();
  island.run(1h, [&] { return island.faults.bytes > 300'000; });
  island.start();  // kill -9: what is on the disk is there
  island.run(1h, [&] { return island.faults.bytes > 600'000; });
  CHECK(island.installs == 0);
  const Line::Faults faults = island.faults;
  island.syncer.reset();
  island.start_hub();
  island.start();
  island.faults = faults;
  island.run(1h, [&] { return island.installs > 0; });
  REQUIRE(island.installs == 1);
  Files expected = files;
  expected["manifest"] = manifest_of(files);
  CHECK((island.installed == expected));
  CHECK(island.faults.bytes < 1'100'000);  // what had come was not fetched again
  CHECK(island.faults.pieces > 4);
  CHECK(fs::is_empty(island.dir / "incoming"));
  island.run(1min, [] { return false; });
  CHECK(island.installs == 1);
}

TEST_CASE("sync: a package that changes at the hub while it is fetched is begun anew, and never handed over mixed") {
  Island island;
  publish(island.models(), "7", {{"model.pt", random_bytes(600'000, 1)}, {"model.toml", "a"}});
  island.run(1h, [&] { return island.faults.bytes > 300'000; });
  const Files second{{"model.pt", random_bytes(600'000, 9)}, {"model.toml", "b"}};
  publish(island.models(), "7", second);
  island.run(1h, [&] { return island.installs > 0; });
  REQUIRE(island.installs == 1);
  CHECK((island.installed.at("model.pt") == second.at("model.pt")));
  CHECK(island.installed.at("model.toml") == "b");
}

TEST_CASE("sync: a file that does not have its checksum is fetched a few times, and the package is then left") {
  Island island;
  publish(island.models(), "7", {{"model.pt", random_bytes(100'000, 1)}});
  island.faults.spoil = [](ChunkReply& reply) {
    if (reply.file_bytes == 100'000) reply.data[0] ^= 1;
  };
  island.run(1h, [] { return false; });
  CHECK(island.installs == 0);
  CHECK(island.downloads->status().refused == 1);
  CHECK(island.downloads->status().last_error.find("har/7") != std::string::npos);
  CHECK(island.faults.bytes < 400'000);  // and not for ever
}

TEST_CASE("sync: pieces that are too long, too short or of another file move nothing") {
  Island island;
  const std::string content = random_bytes(100'000, 1);
  publish(island.models(), "7", {{"model.pt", content}});
  int kind = 0;
  island.faults.spoil = [&](ChunkReply& reply) {
    if (reply.file_bytes != 100'000) return;
    switch (kind++) {
      case 0: reply.data += "more"; break;
      case 1: reply.data.pop_back(); break;
      case 2: reply.file_bytes = 5; break;
      default: break;
    }
  };
  island.run(1h, [&] { return island.installs > 0; });
  CHECK(kind > 3);
  REQUIRE(island.installs == 1);
  CHECK((island.installed.at("model.pt") == content));
}

TEST_CASE("sync: models are fetched as the policy lets the class of models go, and in pieces of its size") {
  Island island;
  publish(island.models(), "7", {{"model.pt", random_bytes(200'000, 1)}});
  bool metered = true;
  island.link = [&](const BearerPolicy&) {
    LinkFacts facts;
    facts.metered = metered;
    return facts;
  };
  ClassPolicy& models = of(island.options.policy, OutboxClass::model);
  models.metered = false;
  models.patience = 0s;
  island.options.batch_bytes_max = 10'000;
  island.start();
  island.run(1h, [&] { return island.faults.pieces > 0; });
  CHECK(island.faults.pieces == 0);
  metered = false;
  island.run(1h, [&] { return island.installs > 0; });
  CHECK(island.installs == 1);
  CHECK(island.faults.largest <= 10'000);
  const auto purposes = island.syncer->status().bearers.at(0).use.purposes;
  CHECK(purposes.contains("model"));
}

TEST_CASE("sync: a manifest is lines of a digest, a size and a plain name, and nothing else") {
  const std::string digest(64, 'a');
  auto files = parse_package_files(digest + "  12  model.pt\n" + digest + "  0  plan.bin\n");
  REQUIRE(files.ok());
  CHECK(files->size() == 2);
  CHECK(files->front().bytes == 12);
  for (const std::string& bad : {std::string(""), digest + "  12  model.pt", digest + "  12 model.pt\n", digest + "  -1  model.pt\n", digest + "  1  ../x\n",
                                 digest + "  1  manifest\n", digest + "  1  a\n" + digest + "  1  a\n", std::string(64, 'g') + "  1  a\n",
                                 digest + "  99999999999999999999  a\n", digest + "    a\n", std::string("\n")}) {
    INFO(bad);
    CHECK_FALSE(parse_package_files(bad).ok());
  }
}
