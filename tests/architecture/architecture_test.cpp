// The rules over the real tree, and over made-up bad trees: a rule that can't refuse is no rule.
#include "tests/architecture/rules.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using namespace skerry::architecture;

namespace {

std::string texts(const std::vector<Violation>& violations) {
  std::string all;
  for (const Violation& v : violations) all += v.text() + "\n";
  return all;
}

const Tree& real_tree() {
  static const Tree tree = read_tree(SKERRY_SOURCE_DIR);
  return tree;
}

// One file that includes one thing; the included file exists when it is one of ours.
Tree one(const std::string& file, const std::string& include_line) {
  Tree tree = {{file, "// a made-up file\n" + include_line + "\n"}};
  size_t quote = include_line.find('"');
  if (quote != std::string::npos) tree.emplace(include_line.substr(quote + 1, include_line.rfind('"') - quote - 1), "");
  return tree;
}

std::string directions(const std::string& file, const std::string& include_line) {
  return texts(check_directions(one(file, include_line)));
}
std::string third_party(const std::string& file, const std::string& include_line) {
  return texts(check_third_party(one(file, include_line)));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("architecture: the tree that is checked is the real one") {
  REQUIRE(real_tree().contains("base/result.h"));
  REQUIRE(real_tree().contains("storage/store.h"));
  REQUIRE(real_tree().contains("tests/architecture/architecture_test.cpp"));
}

TEST_CASE("architecture: includes follow the directions of DESIGN.md") {
  auto violations = check_directions(real_tree());
  INFO(texts(violations));
  CHECK(violations.empty());
}

TEST_CASE("architecture: third-party headers stay in their places") {
  auto violations = check_third_party(real_tree());
  INFO(texts(violations));
  CHECK(violations.empty());
}

TEST_CASE("architecture: each folder's README lists its public headers") {
  auto violations = check_readmes(real_tree());
  INFO(texts(violations));
  CHECK(violations.empty());
}

TEST_CASE("architecture: an include against the directions is refused with file, line and remedy") {
  std::string said = directions("storage/store.cpp", "#include \"learning/models.h\"");
  CHECK(has(said, "storage/store.cpp:2: storage/ may not include learning/models.h: move it, or turn the call around"));

  CHECK(has(directions("base/log.cpp", "#include \"storage/types.h\""), "base/ may not include storage/types.h"));
  CHECK(has(directions("inference/engine.cpp", "#include \"learning/gate.h\""), "inference/ may not include learning/gate.h"));
  CHECK(has(directions("learning/learner.cpp", "#include \"node/node.h\""), "learning/ may not include node/node.h"));
  CHECK(has(directions("learning/learner.cpp", "#include \"sync/wire.h\""), "learning/ may not include sync/wire.h"));
  CHECK(has(directions("sync/syncer.cpp", "#include \"inference/engine.h\""), "sync/ may not include inference/engine.h"));
  CHECK(has(directions("sync/syncer.cpp", "  #  include \"learning/delta.h\""), "sync/ may not include learning/delta.h"));
  CHECK(has(directions("plugins/pump.cpp", "#include \"storage/store.h\""), "plugins/ may not include storage/store.h"));
  CHECK(has(directions("hub/receiver.cpp", "#include \"learning/models.h\""), "hub/ may not include learning/models.h"));
  CHECK(has(directions("hub/receiver.cpp", "#include \"node/node.h\""), "hub/ may not include node/node.h"));
  CHECK(has(directions("config/config.cpp", "#include \"storage/store.h\""), "config/ may not include storage/store.h"));
  CHECK(has(directions("node/node.cpp", "#include \"hub/receiver.h\""), "node/ may not include hub/receiver.h"));
  CHECK(has(directions("node/node.cpp", "#include \"tests/support/sim_clock.h\""), "node/ may not include tests/support/sim_clock.h"));
}

TEST_CASE("architecture: what the directions allow is not refused") {
  CHECK(directions("storage/store.cpp", "#include \"base/result.h\"").empty());
  CHECK(directions("hub/receiver.cpp", "#include \"learning/delta.h\"").empty());
  CHECK(directions("config/config.cpp", "#include \"node/options.h\"").empty());
  CHECK(directions("config/config.cpp", "#include \"plugins/source.h\"").empty());
  CHECK(directions("node/node.cpp", "#include \"sync/syncer.h\"").empty());
  CHECK(directions("storage/store.cpp", "#include \"storage/internal/keys.h\"").empty());
  CHECK(directions("tests/storage/keys_test.cpp", "#include \"storage/internal/keys.h\"").empty());
  CHECK(directions("storage/store.cpp", "// #include \"learning/models.h\"").empty());
}

TEST_CASE("architecture: a room's internal headers are refused outside it") {
  CHECK(has(directions("inference/engine.cpp", "#include \"storage/internal/keys.h\""), "private to storage/"));
  CHECK(has(directions("tests/e2e/story.cpp", "#include \"storage/internal/keys.h\""), "private to storage/"));
}

TEST_CASE("architecture: the headers of a program inside a room are refused outside it") {
  CHECK(has(directions("learning/learner.cpp", "#include \"learning/worker/train.h\""), "a program of its own"));
  CHECK(has(directions("inference/runtime.cpp", "#include \"inference/torch_runtime/session.h\""), "a program of its own"));
}

TEST_CASE("architecture: an include of a file that does not exist, or without its folder, is refused") {
  CHECK(has(texts(check_directions({{"storage/a.cpp", "#include \"storage/gone.h\"\n"}})), "does not exist"));
  CHECK(has(texts(check_directions({{"storage/a.cpp", "#include \"store.h\"\n"}, {"storage/store.h", ""}})), "without its folder"));
}

TEST_CASE("architecture: a third-party header outside its place is refused with the place it has") {
  std::string said = third_party("node/node.cpp", "#include <rocksdb/db.h>");
  CHECK(has(said, "node/node.cpp:2: rocksdb/db.h (RocksDB) may be included only in storage/, hub/"));

  CHECK(has(third_party("learning/learner.cpp", "#include <torch/script.h>"), "(LibTorch)"));
  CHECK(has(third_party("inference/engine.cpp", "#include <ATen/ATen.h>"), "(LibTorch)"));
  CHECK(has(third_party("node/node.cpp", "#include <cpprest/http_client.h>"), "(cpprestsdk)"));
  CHECK(has(third_party("node/rest.cpp", "#include <boost/beast.hpp>"), "(Boost)"));
  CHECK(has(third_party("node/rest.cpp", "#include <toml++/toml.h>"), "(toml++)"));
  CHECK(has(third_party("hub/receiver.cpp", "#include \"sync/wire.pb.h\""), "(Protocol Buffers)"));
  CHECK(has(third_party("inference/package.cpp", "#include <simdjson.h>"), "(simdjson)"));
  CHECK(has(third_party("node/node.cpp", "#include <spdlog/spdlog.h>"), "(spdlog)"));
  CHECK(has(third_party("storage/store.cpp", "#include <sqlite3.h>"), "(SQLite)"));
  CHECK(has(third_party("storage/store.cpp", "#include <catch2/catch.hpp>"), "(Catch2)"));
  CHECK(has(third_party("storage/store.cpp", "#include <leveldb/db.h>"), "has no place yet"));
}

TEST_CASE("architecture: a third-party header in its place is not refused") {
  CHECK(third_party("storage/store.cpp", "#include <rocksdb/db.h>").empty());
  CHECK(third_party("learning/worker/train.cpp", "#include <torch/torch.h>").empty());
  CHECK(third_party("sync/http_uplink.cpp", "#include <cpprest/http_client.h>").empty());
  CHECK(third_party("base/http_server.cpp", "#include <boost/beast.hpp>").empty());
  CHECK(third_party("storage/store.cpp", "#include <vector>").empty());
  CHECK(third_party("storage/store.cpp", "#include <sys/stat.h>").empty());
}

TEST_CASE("architecture: a README that does not match its folder is refused") {
  Tree tree = {{"storage/store.h", ""}, {"storage/internal/keys.h", ""}, {"storage/README.md", "# storage\n\n- `store.h` - the store\n"}};
  CHECK(check_readmes(tree).empty());

  SECTION("a header that is not listed") {
    tree["storage/types.h"] = "";
    CHECK(has(texts(check_readmes(tree)), "does not list storage/types.h: add \"- `types.h` - what it is\""));
  }
  SECTION("a listed header that is gone") {
    tree["storage/README.md"] += "- `gone.h` - was here\n";
    CHECK(has(texts(check_readmes(tree)), "storage/README.md:4: lists `gone.h`, which is not in storage/"));
  }
  SECTION("a line that says nothing") {
    tree["storage/README.md"] = "- `store.h`\n";
    CHECK(has(texts(check_readmes(tree)), "says nothing about `store.h`"));
  }
  SECTION("no README at all") {
    tree.erase("storage/README.md");
    CHECK(has(texts(check_readmes(tree)), "storage/README.md:0: is missing"));
  }
  SECTION("more than a page") {
    tree["storage/README.md"] += std::string(100, '\n');
    CHECK(has(texts(check_readmes(tree)), "longer than a page"));
  }
}
