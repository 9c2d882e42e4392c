#include "inference/package.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "inference/internal/manifest.h"
#include "tests/inference/fake_runtime.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference {
namespace {

namespace fs = std::filesystem;
using skerry::test::TempDir;
using test::make_package;
using test::small_info;

constexpr uint64_t kBytesMax = 1 << 20;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

Error open_error(const fs::path& folder, uint64_t bytes_max = kBytesMax) {
  auto package = Package::open(folder, bytes_max);
  REQUIRE_FALSE(package.ok());
  return package.error();
}

Error parse_error(const std::string& toml) {
  auto info = parse_package_info(toml, "model.toml");
  REQUIRE_FALSE(info.ok());
  CHECK(info.error().code == Code::invalid);
  return info.error();
}

}  // namespace

TEST_CASE("package: what is sealed is what is opened") {
  TempDir dir;
  PackageInfo info = small_info(7);
  info.parent = 6;
  info.note = "made \"by hand\" \\ twice, für Größe";
  info.labels = {"a \"quoted\" one", "b\\c", "ü", "日本", "\U0001f30a"};
  info.gate.gain_min = 0.125;
  info.training.learning_rate = 1e-4;
  make_package(dir / "p", info, "linear 1");

  auto package = Package::open(dir / "p", kBytesMax);
  REQUIRE(package.ok());
  CHECK(to_toml(package->info) == to_toml(info));
  CHECK(package->info.note == info.note);
  CHECK(package->info.labels == info.labels);
  CHECK(package->info.window.period == info.window.period);
  CHECK(package->digest == sha256_hex(*read_file(dir.path() / "p" / "manifest", kBytesMax)));
  CHECK(package->file("model.toml") == dir.path() / "p" / "model.toml");
}

TEST_CASE("package: every float and every period survives model.toml bit for bit") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 300; ++round) {
    PackageInfo info = small_info();
    for (float& value : info.window.mean)
      value = static_cast<float>(random.normal() * std::pow(10.0, random.uniform(-30, 30)));
    for (float& value : info.window.deviation)
      value = static_cast<float>(std::pow(10.0, random.uniform(-29, 30)));
    info.window.period =
        Duration(1 + static_cast<int64_t>(random.below(random.chance(0.5) ? 1000 : 600'000'000'000)));
    info.gate.reference_loss_max = random.uniform();
    auto parsed = parse_package_info(to_toml(info), "model.toml");
    REQUIRE(parsed.ok());
    REQUIRE(parsed->window.mean == info.window.mean);
    REQUIRE(parsed->window.deviation == info.window.deviation);
    REQUIRE(parsed->window.period == info.window.period);
    REQUIRE(parsed->gate.reference_loss_max == info.gate.reference_loss_max);
  }
}

TEST_CASE("package: a damaged folder is refused and the file is named") {
  TempDir dir;
  fs::path p = make_package(dir / "p", small_info(), "linear 1");
  SECTION("no folder") {
    Error error = open_error(dir / "nowhere");
    CHECK(error.code == Code::not_found);
    CHECK(has(error.message, "nowhere"));
  }
  SECTION("a file instead of a folder") { CHECK(open_error(p / "model.toml").code == Code::invalid); }
  SECTION("a truncated file") {
    write(p / "model.int8.pt", "line");
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "model.int8.pt has 4 bytes, the manifest says 8"));
  }
  SECTION("a flipped bit") {
    write(p / "model.int8.pt", "linear 3");
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "model.int8.pt does not have the checksum"));
  }
  SECTION("model.toml changed by hand") {
    std::string text = *read_file(p / "model.toml", kBytesMax);
    write(p / "model.toml", replaced(text, "version = 1", "version = 2"));
    CHECK(has(open_error(p).message, "model.toml does not have the checksum"));
  }
  SECTION("a missing file") {
    fs::remove(p / "model.int8.pt");
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "model.int8.pt is missing"));
  }
  SECTION("an unlisted file") {
    write(p / "extra.bin", "x");
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "extra.bin is not in the manifest"));
  }
  SECTION("a folder inside") {
    fs::create_directory(p / "sub");
    CHECK(has(open_error(p).message, "sub"));
  }
  SECTION("a link out of the package") {
    fs::remove(p / "model.int8.pt");
    fs::create_symlink("/etc/passwd", p / "model.int8.pt");
    CHECK(open_error(p).code == Code::invalid);
  }
  SECTION("no manifest") {
    fs::remove(p / "manifest");
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "manifest is missing"));
  }
  SECTION("an empty manifest") {
    write(p / "manifest", "");
    CHECK(open_error(p).code == Code::corrupt);
  }
  SECTION("a manifest of a megabyte") {
    write(p / "manifest", std::string(1 << 20, 'a'));
    CHECK(has(open_error(p).message, "manifest"));
  }
  SECTION("a manifest that does not list model.toml") {
    std::string content = *read_file(p / "model.int8.pt", kBytesMax);
    fs::remove(p / "model.toml");
    write(p / "manifest", to_text({{sha256_hex(content), content.size(), "model.int8.pt"}}));
    Error error = open_error(p);
    CHECK(error.code == Code::corrupt);
    CHECK(has(error.message, "model.toml is missing"));
  }
  SECTION("a manifest with a size of 2^64 - 1 is refused before anything is read") {
    std::string text = *read_file(p / "manifest", kBytesMax);
    write(p / "manifest", replaced(text, "  8  model.int8.pt", "  18446744073709551615  model.int8.pt"));
    CHECK(open_error(p).code == Code::exhausted);
  }
  SECTION("more bytes than allowed") {
    Error error = open_error(p, 20);
    CHECK(error.code == Code::exhausted);
    CHECK(has(error.message, "package_bytes_max"));
  }
  SECTION("an int8 file that is named but not there") {
    std::string toml = replaced(*read_file(p / "model.toml", kBytesMax), "model.int8.pt", "other.pt");
    std::string content = *read_file(p / "model.int8.pt", kBytesMax);
    write(p / "model.toml", toml);
    write(p / "manifest", to_text({{sha256_hex(content), content.size(), "model.int8.pt"},
                                   {sha256_hex(toml), toml.size(), "model.toml"}}));
    Error error = open_error(p);
    CHECK(error.code == Code::invalid);
    CHECK(has(error.message, "other.pt"));
  }
}

TEST_CASE("manifest: path tricks, disorder and doubles are refused with their line") {
  const std::string digest(64, 'a');
  for (const char* name : {"../model.pt", "/etc/passwd", "a/b", ".hidden", "..", "manifest", "", "na me",
                           "new\rline", "caf\xc3\xa9"}) {
    auto parsed = parse_manifest(digest + "  1  " + name + "\n", "manifest");
    INFO(name);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code == Code::corrupt);
    CHECK(has(parsed.error().message, "manifest:1:"));
  }
  std::string a = digest + "  1  a\n", b = digest + "  2  b\n";
  REQUIRE(parse_manifest(a + b, "m").ok());
  CHECK(to_text(*parse_manifest(a + b, "m")) == a + b);
  CHECK(has(parse_manifest(b + a, "m").error().message, "m:2:"));
  CHECK(has(parse_manifest(a + a, "m").error().message, "twice"));
  for (std::string bad : {digest + " 1  a\n", digest + "  -1  a\n", digest + "  1e3  a\n",
                          digest + "  01  a\n", digest + "  99999999999999999999  a\n",
                          std::string(64, 'A') + "  1  a\n", std::string(63, 'a') + "  1  a\n",
                          std::string("\n"), a + b.substr(0, 50), a.substr(0, a.size() - 1)}) {
    CHECK_FALSE(parse_manifest(bad, "m").ok());
  }
  std::string many;
  for (int i = 0; i < 100; ++i) many += digest + fmt::format("  1  f{:03}\n", i);
  CHECK(has(parse_manifest(many, "m").error().message, "more than 64"));
}

TEST_CASE("model.toml: all mistakes are reported at once, each with its line") {
  const std::string toml =
      "name = \"../../etc\"\n"         // 1
      "version = 99999999999\n"        // 2
      "parent = -1\n"                  // 3
      "architecture = \"\"\n"          // 4
      "engine = \"tpu\"\n"             // 5
      "int8_file = \"../model.pt\"\n"  // 6
      "labels = [\"a\", \"a\", 3]\n"   // 7: two
      "colour = \"red\"\n"             // 8
      "[window]\n"                     // 9: stream is missing
      "fields = []\n"                  // 10
      "rows = 0\n"                     // 11
      "stride = 0\n"                   // 12
      "period = \"soon\"\n"            // 13
      "gap_factor = nan\n"             // 14
      "mean = [inf]\n"                 // 15
      "deviation = [0.0]\n"            // 16
      "[gate]\n"                       //
      "gain_min = 7\n"                 // 18
      "[training]\n"                   //
      "epochs = 0\n"                   // 20
      "learning_rate = \"fast\"\n";    // 21
  std::string message = parse_error(toml).message;
  for (int line : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 21}) {
    INFO(message);
    CHECK(has(message, fmt::format("model.toml:{}: ", line)));
  }
  CHECK(has(message, "'window.stream' is missing"));
  CHECK(has(message, "unknown key 'colour': known here are alarm, architecture, engine"));
  CHECK(std::count(message.begin(), message.end(), '\n') == 19);  // twenty mistakes
}

TEST_CASE("model.toml: bounds hold where parts do not fit each other") {
  const std::string good = to_toml(small_info());
  REQUIRE(parse_package_info(good, "m").ok());
  CHECK(has(parse_error(replaced(good, "stride = 2", "stride = 5")).message,
            "'window.stride' must not be more than 'window.rows' (4)"));
  CHECK(
      has(parse_error(replaced(good, "mean = [0.0, 0.0]", "mean = [0.0]")).message, "1 values for 2 fields"));
  CHECK(has(parse_error(replaced(good, "deviation = [1.0, 1.0]", "deviation = [1, -1]")).message,
            "'window.deviation'"));
  CHECK(has(parse_error(replaced(good, "rows = 4", "rows = 65537")).message, "from 1 to 65536"));
  CHECK(has(parse_error(replaced(good, "parent = 0", "parent = 1")).message, "'parent'"));
  CHECK(has(parse_error(replaced(good, "period = \"10ms\"", "period = \"8d\"")).message, "'window.period'"));
  CHECK(has(parse_error("gate = 3\n" + good).message, "model.toml:"));
  CHECK(has(parse_error("name = \"a\nversion").message, "model.toml:1: "));
  CHECK(has(parse_error("").message, "'name' is missing"));
  CHECK(has(parse_error(std::string(kModelTomlBytesMax + 1, '#')).message, "larger than"));

  PackageInfo wide = small_info();
  wide.window.rows = kRowsMax;
  for (int i = 2; i < 17; ++i) {
    wide.window.fields.push_back("f" + std::to_string(i));
    wide.window.mean.push_back(0);
    wide.window.deviation.push_back(1);
  }
  CHECK(has(parse_error(to_toml(wide)).message, "'window.rows' times the number of fields"));
}

TEST_CASE("model.toml: hostile nesting and control characters stay an error of a sane size") {
  CHECK(parse_error("a = " + std::string(100'000, '[')).message.size() < 500);
  CHECK_FALSE(has(parse_error("name = \"x\\u001b[2J\"").message, "\x1b"));
  std::string keys;
  for (int i = 0; i < 10'000; ++i) keys += fmt::format("k{} = 1\n", i);
  std::string message = parse_error(keys).message;
  CHECK(message.size() < 20'000);
  CHECK(has(message, "more mistakes"));
}

TEST_CASE("model.toml: what toml++ itself asserts on or calls unreachable is an ordinary mistake") {
  CHECK(has(parse_error("name = 1979-05-27Txx").message, "model.toml:1: "));
  CHECK(has(parse_error("a = 1\n\xc7\x99 = 2").message, "model.toml:2: byte 0xc7: only ASCII"));
  PackageInfo info = small_info();
  for (const char* bad :
       {"\xff", "\xc3", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "a\x80"}) {  // no UTF-8
    info.note = bad;
    CHECK(has(parse_error(to_toml(info)).message, "only ASCII"));
  }
}

TEST_CASE("package: names that could leave the models folder are no model names") {
  for (const char* name : {"", ".", "..", "a/b", "A", "har ", "h\xc3\xa4r", "a.b"})
    CHECK_FALSE(is_model_name(name));
  CHECK_FALSE(is_model_name(std::string(65, 'a')));
  CHECK_FALSE(is_model_name(std::string("a\0b", 3)));
  CHECK(is_model_name("har-2_b"));
}

TEST_CASE("package: sealing refuses what opening would refuse") {
  TempDir dir;
  fs::create_directories(dir / "p");
  PackageInfo info = small_info();
  Status missing = seal_package(dir / "p", info);
  REQUIRE_FALSE(missing.ok());
  CHECK(has(missing.error().message, "model.int8.pt is missing"));
  info.window.deviation[0] = 0;
  CHECK(has(seal_package(dir / "p", info).error().message, "'window.deviation'"));
}

TEST_CASE("package: installing is one step, and again is fine") {
  TempDir dir;
  fs::path from = make_package(dir / "from", small_info(3), "linear 1"), models = dir / "models";
  auto installed = install_package(from, models, kBytesMax);
  REQUIRE(installed.ok());
  CHECK(installed->folder == models / "toy" / "3");
  CHECK(Package::open(models / "toy" / "3", kBytesMax)->digest == Package::open(from, kBytesMax)->digest);
  CHECK(install_package(from, models, kBytesMax).ok());

  SECTION("another package of the same version is refused and the first one stays") {
    fs::path other = make_package(dir / "other", small_info(3), "linear 2");
    auto refused = install_package(other, models, kBytesMax);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
    CHECK(Package::open(models / "toy" / "3", kBytesMax)->digest == installed->digest);
  }
  SECTION("a damaged one is replaced") {
    write(models / "toy" / "3" / "model.int8.pt", "linear");
    REQUIRE(install_package(from, models, kBytesMax).ok());
    CHECK(Package::open(models / "toy" / "3", kBytesMax).ok());
  }
  SECTION("what a crash left half copied is no obstacle and no package") {
    fs::create_directories(models / "toy" / ".incoming-4");
    write(models / "toy" / ".incoming-4" / "model.pt", "half");
    fs::path next = make_package(dir / "next", small_info(4), "linear 2");
    REQUIRE(install_package(next, models, kBytesMax).ok());
    CHECK_FALSE(fs::exists(models / "toy" / ".incoming-4"));
  }
  SECTION("a damaged source changes nothing") {
    fs::path bad = make_package(dir / "bad", small_info(5), "linear 2");
    write(bad / "model.int8.pt", "linear 9");
    CHECK(install_package(bad, models, kBytesMax).error().code == Code::corrupt);
    CHECK_FALSE(fs::exists(models / "toy" / "5"));
  }
}

TEST_CASE("package: normalise is (x - mean) / deviation per channel") {
  WindowSpec spec = small_info().window;
  spec.rows = 2;
  spec.mean = {1, -2};
  spec.deviation = {2, 0.5};
  std::vector<float> values{1, 3, -2, -1, 5, 5, 0, 0};
  normalise(spec, values.data(), 2);
  CHECK(values == std::vector<float>{0, 1, 0, 2, 2, 2, 4, 4});
}

}  // namespace skerry::inference
