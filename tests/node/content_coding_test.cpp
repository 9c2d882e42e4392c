#include "node/internal/content_coding.h"

#include <zlib.h>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::node;
using namespace skerry::test;
using Catch::Matchers::Contains;

namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(::deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(::deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

const http::Headers kGzip = {{"Content-Encoding", "gzip"}};

}  // namespace

TEST_CASE("gunzip: what was packed comes back, whatever its size, in one member or several") {
  Random random(Catch::rngSeed());
  for (size_t size : {0, 1, 63, 64, 65, 4096, 100'000}) {
    std::string text;
    while (text.size() < size) text += static_cast<char>(random.below(256));
    auto back = gunzip(gzip(text), 100'000);
    REQUIRE(back.ok());
    CHECK(*back == text);
  }
  auto joined = gunzip(gzip("one ") + gzip("") + gzip("two"), 100);
  REQUIRE(joined.ok());
  CHECK(*joined == "one two");
}

TEST_CASE("gunzip: the limit is exact, and counts over all members") {
  CHECK(gunzip(gzip(std::string(1000, 'x')), 1000).ok());
  for (const std::string& packed : {gzip(std::string(1001, 'x')), gzip(std::string(500, 'x')) + gzip(std::string(501, 'x')),
                                    gzip(std::string(64 << 20, '\0'))}) {
    auto refused = gunzip(packed, 1000);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::exhausted);
    CHECK_THAT(refused.error().message, Contains("1000 bytes"));
  }
}

TEST_CASE("gunzip: a body that is cut off anywhere, changed anywhere or followed by something is refused") {
  std::string text;
  for (int i = 0; i < 40; ++i) text += fmt::format("imu,device=a x={} {}\n", i * 0.37, 1764000000 + i);
  const std::string whole = gzip(text);
  for (size_t n = 0; n < whole.size(); ++n) {
    auto refused = gunzip(whole.substr(0, n), 1 << 20);
    INFO("cut off after " << n);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    auto back = gunzip(changed, 1 << 20);
    INFO("changed at " << at);
    if (back.ok()) CHECK(*back == text);  // the header says a time and a system, and nobody checks those
  }
  for (const std::string& after : {std::string("x"), std::string(20, '\0'), text}) CHECK_FALSE(gunzip(whole + after, 1 << 20).ok());
  CHECK_FALSE(gunzip(text, 1 << 20).ok());
}

TEST_CASE("REST: lines packed with gzip are taken by both write endpoints as if they came plain") {
  RestFixture f;
  CHECK(f.post("/write?precision=s", gzip("room t=20.5 1764000000\n"), kGzip).status == 204);
  CHECK(f.post("/api/v2/write?precision=ms", gzip("room t=21 1764000001000\n"), {{"Content-Encoding", "GZIP"}}).status == 204);
  CHECK(f.post("/write", "room t=22 1764000000500000000\n", {{"Content-Encoding", "identity"}}).status == 204);
  CHECK(f.node().status().records == 3);
  CHECK_THAT(f.refusal(f.post("/write", gzip("room t=1\nroom t=NaN\n"), kGzip), 400), Contains("line 2, column 8"));
}

TEST_CASE("REST: a packed body that is damaged, too large or packed otherwise is refused with the remedy, and nothing is taken") {
  RestFixture f([](config::Config config) {
    config.node.http.body_bytes_max = 4096;
    return config;
  });
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += "room t=1 1764000000000000000\n";
  const std::string bomb = gzip(lines);
  REQUIRE(bomb.size() < 4096);
  CHECK_THAT(f.refusal(f.post("/write", bomb, kGzip), 413), Contains("4096 bytes") && Contains("http.body_max"));
  CHECK(f.json(f.post("/api/v2/write", bomb, kGzip))["code"] == "request too large");
  CHECK_THAT(f.refusal(f.post("/write", "\x1f\x8b", kGzip), 400), Contains("cut off"));
  CHECK_THAT(f.refusal(f.post("/write", "room t=1\n", kGzip), 400), Contains("not gzip"));
  for (const char* other : {"br", "gzip, gzip", "deflate"}) {
    CHECK_THAT(f.refusal(f.post("/write", bomb, {{"Content-Encoding", other}}), 415), Contains(other) && Contains("gzip"));
  }
  CHECK(f.node().status().records == 0);
}
