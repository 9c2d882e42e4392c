// docs/openapi.yaml and the router say the same paths and verbs.
#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <string>

#include "tests/node/rest_fixture.h"
#include "node/internal/rest.h"

using namespace skerry;

namespace {

// The subset of YAML that the file is written in: paths at two spaces, verbs at four, within the section "paths:".
std::set<std::string> documented(const std::string& file) {
  std::ifstream in(file);
  REQUIRE(in.good());
  std::set<std::string> out;
  std::string line, path;
  bool inside = false;
  while (std::getline(in, line)) {
    if (!line.empty() && line[0] != ' ' && line[0] != '#') inside = line == "paths:";
    if (!inside) continue;
    if (line.rfind("  /", 0) == 0 && line.back() == ':') path = line.substr(2, line.size() - 3);
    for (const char* verb : {"get", "post", "put", "delete", "patch", "head"}) {
      if (line == "    " + std::string(verb) + ":") {
        std::string upper = verb;
        for (char& c : upper) c = static_cast<char>(std::toupper(c));
        out.insert(upper + " " + path);
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("REST: docs/openapi.yaml describes exactly what is served") {
  test::TempDir dir;
  test::SimClock clock;
  auto node = node::Node::open(test::node_config(dir.path()), test::node_seams(clock));
  REQUIRE(node.ok());
  node::HttpCounters counters;
  std::set<std::string> served;
  for (const auto& [method, pattern] : node::make_router(**node, counters).routes()) {
    CHECK(served.insert(method + " " + pattern).second);
  }
  CHECK(served == documented(SKERRY_SOURCE_DIR "/docs/openapi.yaml"));
  CHECK(served.size() > 25);
}

TEST_CASE("REST: docs/openapi.yaml names exactly the parameters that a query takes") {
  std::ifstream in(SKERRY_SOURCE_DIR "/docs/openapi.yaml");
  REQUIRE(in.good());
  std::set<std::string> documented;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("  /", 0) == 0) inside = line == "  /v1/query:";
    if (!inside) continue;
    if (const size_t at = line.find("{name: "); at != std::string::npos) documented.insert(line.substr(at + 7, line.find(',', at) - at - 7));
    const std::string shared = "components/parameters/";
    if (const size_t at = line.find(shared); at != std::string::npos) {
      const size_t from = at + shared.size();
      documented.insert(line.substr(from, line.find('"', from) - from));
    }
  }
  std::set<std::string> served(std::begin(node::kQueryParameters), std::end(node::kQueryParameters));
  served.insert("tag.KEY");
  CHECK(documented == served);
}
