// What every Uplink promises, over the fake and over the real one: HTTP to the real hub's server.
#include <catch2/catch.hpp>

#include <fstream>
#include <functional>
#include <map>

#include "tests/support/certificates.h"
#include "tests/support/chaos_proxy.h"
#include "tests/sync/make.h"
#include "tests/sync/served_hub.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::ChaosProxy;
using skerry::test::FakeCloud;
using skerry::test::SimClock;

namespace {

// One link, and how to break it.
struct Subject {
  std::unique_ptr<Uplink> uplink;
  std::function<void()> down, up, lose_next_ack, lose_next_request;
  std::function<hub::NodeInfo()> node;
};

hub::NodeInfo first_node(hub::Receiver& receiver) {
  auto nodes = receiver.nodes();
  REQUIRE(nodes.ok());
  REQUIRE_FALSE(nodes->empty());
  return nodes->front();
}

std::vector<hub::NodeInfo> nodes_of(hub::Receiver& receiver) {
  auto nodes = receiver.nodes();
  REQUIRE(nodes.ok());
  return *nodes;
}

void check_contract(const std::function<Subject()>& make) {
  SECTION("a HELLO brings the watermarks of all classes") {
    Subject s = make();
    auto reply = s.uplink->hello(hello_of(4, 9));
    INFO((reply.ok() ? "" : reply.error().message));
    REQUIRE(reply.ok());
    CHECK(reply->watermarks.size() == 6);
    CHECK(watermark(*reply) == 3);
    CHECK(reply->new_epoch);
  }
  SECTION("outcomes of batches come through") {
    Subject s = make();
    CHECK(deliver(*s.uplink, batch_of(1, 2))->outcome == BatchOutcome::unknown_epoch);
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    auto applied = deliver(*s.uplink, batch_of(1, 5));
    REQUIRE(applied.ok());
    CHECK(applied->outcome == BatchOutcome::applied);
    CHECK(applied->watermark == 5);
    CHECK(deliver(*s.uplink, batch_of(1, 5))->outcome == BatchOutcome::duplicate);
    CHECK(deliver(*s.uplink, batch_of(7, 8))->outcome == BatchOutcome::gap);
  }
  SECTION("several batches on their way are applied in their order, alarms beside them") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    sync::Batch alarm = batch_of(1, 1);
    alarm.outbox_class = OutboxClass::alarm;
    for (uint64_t n = 1; n <= 5; ++n) CHECK(s.uplink->begin(n, batch_of(10 * n - 9, 10 * n), Lane::bulk) > 0);
    CHECK(s.uplink->begin(6, alarm, Lane::urgent) > 0);
    std::map<uint64_t, BatchReply> told;
    while (told.size() < 6) {
      for (const Answer& a : s.uplink->answers(1s)) {
        INFO((a.reply.ok() ? "" : a.reply.error().message));
        REQUIRE(a.reply.ok());
        CHECK(a.traffic.sent > 0);
        CHECK(told.emplace(a.ticket, *a.reply).second);
      }
    }
    for (const auto& [ticket, reply] : told) CHECK(reply.outcome == BatchOutcome::applied);
    CHECK(told[5].watermark == 50);
    CHECK(told[6].watermark == 1);
    CHECK(s.node().duplicates == 0);
  }
  SECTION("the hub says what it holds of a range, and nothing of a node that it does not know") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    REQUIRE(deliver(*s.uplink, batch_of(1, 5)).ok());
    auto digest = [](uint64_t first, uint64_t last) {
      uint64_t d = kFirstChain;
      for (uint64_t seq = first; seq <= last; ++seq) d = digest_after(d, item(seq));
      return d;
    };
    auto held = s.uplink->range({"pump-1", 7, OutboxClass::telemetry, 2, 4});
    REQUIRE(held.ok());
    CHECK(held->count == 3);
    CHECK(held->digest == digest(2, 4));
    CHECK(s.uplink->range({"pump-1", 7, OutboxClass::telemetry, 4, 9})->count == 2);
    CHECK(s.uplink->range({"pump-1", 7, OutboxClass::telemetry, 6, 9})->count == 0);
    auto stranger = s.uplink->range({"pump-2", 7, OutboxClass::telemetry, 1, 1});
    REQUIRE_FALSE(stranger.ok());
    CHECK((stranger.error().code == Code::not_found || stranger.error().code == Code::invalid));
  }
  SECTION("a link that is down is unavailable, and works again afterwards") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    s.down();
    for (int i = 0; i < 3; ++i) {
      auto reply = deliver(*s.uplink, batch_of(1, 2));
      REQUIRE_FALSE(reply.ok());
      CHECK(reply.error().code == Code::unavailable);
    }
    s.up();
    auto reply = deliver(*s.uplink, batch_of(1, 2));
    INFO((reply.ok() ? "" : reply.error().message));
    REQUIRE(reply.ok());
    CHECK(reply->outcome == BatchOutcome::applied);
  }
  SECTION("a lost answer is unavailable, yet the batch was applied") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    s.lose_next_ack();
    auto lost = deliver(*s.uplink, batch_of(1, 2));
    REQUIRE_FALSE(lost.ok());
    CHECK(lost.error().code == Code::unavailable);
    auto again = deliver(*s.uplink, batch_of(1, 2));
    REQUIRE(again.ok());
    CHECK(again->outcome == BatchOutcome::duplicate);
    CHECK(s.node().entries == 2);
  }
  SECTION("a lost request is unavailable and changes nothing") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    s.lose_next_request();
    CHECK_FALSE(deliver(*s.uplink, batch_of(1, 2)).ok());
    CHECK(s.node().entries == 0);
    s.up();
    CHECK(deliver(*s.uplink, batch_of(1, 2))->outcome == BatchOutcome::applied);
  }
  SECTION("bytes of bodies are counted as they went over the wire") {
    Subject s = make();
    REQUIRE(s.uplink->hello(hello_of(1, 9)).ok());
    const Traffic before = s.uplink->traffic();
    CHECK(before.sent == encode(hello_of(1, 9)).size());
    CHECK(before.received > 0);
    const sync::Batch batch = batch_of(1, 500);
    REQUIRE(deliver(*s.uplink, batch).ok());
    CHECK(s.uplink->traffic().sent - before.sent == encode(batch).size());
    CHECK(s.uplink->traffic().received > before.received);
  }
  SECTION("a message that the hub refuses is invalid, with the hub's words") {
    Subject s = make();
    auto refused = s.uplink->hello(hello_of(1, 9, "no such name"));
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
    CHECK(refused.error().message.find("node name") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("uplink contract: the fake cloud") {
  SimClock clock;
  auto cloud = std::make_shared<FakeCloud>(clock);
  check_contract([cloud] {
    return Subject{cloud->uplink(), [cloud] { cloud->down(); }, [cloud] { cloud->up(); }, [cloud] { cloud->lose_next_ack(); },
                   [cloud] { cloud->lose_next_request(); }, [cloud] { return first_node(cloud->receiver()); }};
  });
}

TEST_CASE("uplink contract: HTTP to the hub") {
  SimClock clock;
  ServedHub hub(clock);
  auto started = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(started.ok());
  std::shared_ptr<ChaosProxy> proxy = std::move(*started);
  check_contract([&] {
    Options options;
    options.hub = proxy->url();
    options.request_timeout = 3s;
    return Subject{make_http_uplink(options), [proxy] { proxy->down(); }, [proxy] { proxy->pass(); }, [proxy] { proxy->swallow_responses(1); },
                   [proxy] { proxy->down(); }, [&hub] { return first_node(hub.receiver()); }};
  });
}

TEST_CASE("uplink contract: HTTPS to a hub that asks for a certificate and a token") {
  SimClock clock;
  skerry::test::TempDir folder;
  skerry::test::Authority authority(folder.path(), "authority");
  const auto own = authority.issue("hub"), mine = authority.issue("pump-1");
  auto token = hub::make_token("pump-1");
  REQUIRE(token.ok());
  std::ofstream(folder / "tokens") << token->line << "\n";
  std::ofstream(folder / "token") << token->token << "\n";
  ServedHub hub(clock, {.tls = http::TlsFiles{own.certificate, own.key, authority.certificate()}, .access = {.tokens = folder / "tokens", .certificates = true}});
  auto started = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(started.ok());
  std::shared_ptr<ChaosProxy> proxy = std::move(*started);
  Options options;
  options.hub = "https" + proxy->url().substr(4);
  options.request_timeout = 10s;
  options.proofs = {authority.certificate(), mine.certificate, mine.key, folder / "token"};
  SECTION("it is let in") {
    auto uplink = make_http_uplink(options);
    auto reply = uplink->hello(hello_of(1, 9));
    INFO((reply.ok() ? "" : reply.error().message));
    REQUIRE(reply.ok());
    CHECK(deliver(*uplink, batch_of(1, 500))->outcome == BatchOutcome::applied);
    CHECK(deliver(*uplink, batch_of(501, 502))->outcome == BatchOutcome::applied);
  }
  auto problem = [&](const Options& with) {
    auto uplink = make_http_uplink(with);
    auto hello = uplink->hello(hello_of(1, 9));
    auto batch = deliver(*uplink, batch_of(1, 2));
    REQUIRE_FALSE(hello.ok());
    REQUIRE_FALSE(batch.ok());
    CHECK(nodes_of(hub.receiver()).empty());  // nothing got through
    return std::pair(hello.error(), batch.error());
  };
  SECTION("a hub with a certificate of somebody else gets nothing") {
    skerry::test::Authority other(folder.path(), "other");
    options.proofs.ca = other.certificate();
    const auto [hello, batch] = problem(options);
    CHECK(hello.code == Code::unavailable);
    CHECK_THAT(hello.message, Catch::Matchers::Contains("sync.ca_file"));
    CHECK_THAT(batch.message, Catch::Matchers::Contains("sync.ca_file"));
  }
  SECTION("nor one whose certificate is of another host") {
    const auto elsewhere = authority.issue("elsewhere", "10.1.2.3");
    ServedHub wrong(clock, {.tls = http::TlsFiles{elsewhere.certificate, elsewhere.key, {}}, .access = {}});
    options.hub = fmt::format("https://127.0.0.1:{}", wrong.port());
    const auto [hello, batch] = problem(options);
    CHECK_THAT(hello.message, Catch::Matchers::Contains("another host"));
    CHECK_THAT(batch.message, Catch::Matchers::Contains("another host"));
  }
  SECTION("a node without a certificate is told what to set") {
    options.proofs.certificate = options.proofs.key = "";
    const auto [hello, batch] = problem(options);
    CHECK(hello.code == Code::unavailable);
  }
  SECTION("a node without a token is told what to set, and waits") {
    options.proofs.token = "";
    const auto [hello, batch] = problem(options);
    CHECK(hello.code == Code::unavailable);
    CHECK_THAT(hello.message, Catch::Matchers::Contains("does not let this node in") && Catch::Matchers::Contains("sync.token_file"));
    CHECK_THAT(batch.message, Catch::Matchers::Contains("sync.token_file"));
  }
  SECTION("files that cannot be used are named") {
    std::ofstream(folder / "empty") << "\n";
    Options with = options;
    with.proofs.token = folder / "empty";
    CHECK_THAT(problem(with).first.message, Catch::Matchers::Contains("sync.token_file"));
    with = options;
    with.proofs.ca = folder / "none.pem";
    CHECK_THAT(problem(with).second.message, Catch::Matchers::Contains("sync.ca_file"));
    with = options;
    with.proofs.key = folder / "none.key";
    CHECK_THAT(problem(with).first.message, Catch::Matchers::Contains("sync.key_file"));
  }
}
