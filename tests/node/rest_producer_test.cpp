// Writes that are numbered by their producer, over REST.
#include "base/random.h"
#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;

namespace {

const std::string kLine = "room t=20.5 1764000000000000000\n";

http::Headers numbered(const std::string& producer, const std::string& sequence) {
  return {{"Skerry-Producer", producer}, {"Skerry-Sequence", sequence}};
}

std::string header(const http::Response& response, std::string name) {
  std::string out;
  for (const auto& [key, value] : response.headers) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(), [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); })) {
      out = value;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("REST: a numbered write that is repeated answers 204, says so, and counts once, at both endpoints") {
  RestFixture f;
  http::Response first = f.post("/write", kLine, numbered("pump-3", "1"));
  CHECK(first.status == 204);
  CHECK(header(first, "Skerry-Duplicate").empty());
  http::Response again = f.post("/api/v2/write", kLine, numbered("pump-3", "1"));
  CHECK(again.status == 204);
  CHECK(header(again, "Skerry-Duplicate") == "true");
  CHECK(header(f.post("/write", "room t=21 1764000000000000001\n", numbered("pump-3", "9")), "Skerry-Duplicate").empty());
  CHECK(header(f.post("/write", kLine, numbered("pump-3", "9")), "Skerry-Duplicate") == "true");
  CHECK(header(f.post("/write", kLine, numbered("pump-4", "1")), "Skerry-Duplicate").empty());
  CHECK(f.node().status().records == 3);
}

TEST_CASE("REST: a refused body leaves its number free") {
  RestFixture f;
  f.refusal(f.post("/write", "room t=NaN\n", numbered("a", "1")), 400);
  CHECK(header(f.post("/write", kLine, numbered("a", "1")), "Skerry-Duplicate").empty());
  CHECK(f.node().status().records == 1);
}

TEST_CASE("REST: one of the two headers alone, or one that cannot be, is 400 and names what is expected") {
  RestFixture f;
  CHECK_THAT(f.refusal(f.post("/write", kLine, {{"Skerry-Producer", "a"}}), 400), Contains("go together"));
  CHECK_THAT(f.refusal(f.post("/write", kLine, {{"Skerry-Sequence", "1"}}), 400), Contains("go together"));
  for (const char* number : {"", "0", "-1", "+1", "1.0", "1e3", "0x1", "1 2", "18446744073709551616", "99999999999999999999999"}) {
    INFO(number);
    CHECK_THAT(f.refusal(f.post("/write", kLine, numbered("a", number)), 400), Contains("Skerry-Sequence"));
  }
  for (const std::string& id : {std::string(), std::string("two words"), std::string(129, 'a'), std::string("caf\xc3\xa9")}) {
    INFO(id);
    CHECK_THAT(f.refusal(f.post("/write", kLine, numbered(id, "1")), 400), Contains("Skerry-Producer"));
  }
  CHECK(f.node().status().records == 0);
  CHECK(f.post("/write", kLine, numbered(std::string(128, '~'), "18446744073709551615")).status == 204);
}

TEST_CASE("REST: random producer headers are taken or refused, never both and never with a trace") {
  RestFixture f;
  Random random(Catch::rngSeed());
  uint64_t taken = 0;
  for (int i = 0; i < 300; ++i) {
    const auto text = [&](uint64_t length_max) {
      std::string out;
      for (uint64_t n = random.below(length_max + 1); n > 0; --n) {
        out += random.chance(0.6) ? static_cast<char>('0' + random.below(10)) : static_cast<char>(1 + random.below(255));
      }
      std::erase_if(out, [](unsigned char c) { return c == '\r' || c == '\n'; });  // they would end the header
      return out;
    };
    http::Headers headers;
    if (random.chance(0.9)) headers.emplace_back("Skerry-Producer", text(random.chance(0.1) ? 300 : 20));
    if (random.chance(0.9)) headers.emplace_back("Skerry-Sequence", text(random.chance(0.1) ? 300 : 4));
    const http::Response answer = f.post("/write", kLine, headers);
    INFO(answer.body);
    REQUIRE((answer.status == 204 || answer.status == 400));
    if (answer.status == 204 && header(answer, "Skerry-Duplicate").empty()) ++taken;
  }
  CHECK(f.node().status().records == taken);
}
