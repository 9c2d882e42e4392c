#include "tests/architecture/rules.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>

namespace skerry::architecture {
namespace {

// What a room may include of the others: a whole room ("base/"), or one header of it. Its own folder is always allowed.
const std::map<std::string, std::vector<std::string>> kDirections = {
    {"base", {}},
    {"storage", {"base/"}},
    {"inference", {"base/", "storage/"}},
    {"learning", {"base/", "storage/", "inference/"}},
    {"sync", {"base/", "storage/"}},
    {"plugins", {"base/"}},
    {"config",
     {"base/", "storage/options.h", "inference/options.h", "learning/options.h", "sync/options.h", "node/options.h",
      "plugins/source.h", "node/simulate/scenario.h"}},
    {"hub", {"base/", "storage/", "sync/", "learning/delta.h"}},
    {"node/simulate", {"base/", "storage/", "sync/", "hub/receiver.h", "config/config.h"}},
    {"node", {"base/", "storage/", "inference/", "learning/", "sync/", "plugins/", "config/", "node/simulate/simulate.h"}},
    {"tests", {"base/", "storage/", "inference/", "learning/", "sync/", "plugins/", "config/", "hub/", "node/"}},
};

// Folders that are programs or libraries of their own inside a room: nobody else includes their headers, but for the named ones.
const std::map<std::string, std::vector<std::string>> kClosedFolders = {
    {"learning/worker/", {"tests/"}},
    {"inference/torch_runtime/", {"tests/"}},
    {"node/cli/", {"tests/"}},
};

// Where a library's headers may be included: path prefixes of the including file. {} = nowhere yet.
struct Place {
  std::string library;
  std::vector<std::string> headers;  // prefixes of the include
  std::vector<std::string> files;    // prefixes of the including file
};
const std::vector<Place> kPlaces = {
    {"RocksDB", {"rocksdb/"}, {"storage/", "hub/", "node/simulate/internal/", "tests/support/"}},
    {"LibTorch", {"torch/", "ATen/", "c10/", "caffe2/"}, {"learning/worker/", "inference/torch_runtime/", "inference/frontends/torchscript",
      "inference/frontends/internal/torchscript", "tests/inference/make_test_package.cpp",
      "tests/inference/torchscript_test.cpp"}},
    {"cpprestsdk", {"cpprest/", "pplx/"}, {"sync/http_uplink.cpp"}},
    {"toml++", {"toml++/", "toml.hpp"}, {"config/", "inference/package_info.cpp", "learning/job.cpp"}},
    // cpprestsdk hands its native handles out as Boost.Asio types, so its one file needs them too.
    {"Boost",
     {"boost/"},
     {"base/http_server.cpp", "base/internal/http_tls.", "node/cli/http_client.cpp", "sync/http_uplink.cpp", "sync/internal/pipes.cpp",
      "sync/internal/proofs.", "tests/support/chaos_proxy.cpp", "tests/base/https_server_test.cpp"}},
    {"Protocol Buffers", {"google/protobuf/", "sync/wire.pb.h", "wire.pb.h"}, {"sync/wire.cpp", "inference/frontends/onnx_model.cpp"}},
    // The test writes the files that the frontend reads.
    {"Protocol Buffers of ONNX files", {"inference/frontends/onnx_ir.pb.h"}, {"inference/frontends/onnx_model.cpp", "tests/inference/onnx_file.h"}},
    {"FlatBuffers",
     {"flatbuffers/", "inference/frontends/tflite_ir_generated.h"},
     {"inference/frontends/tflite_model.cpp", "tests/inference/tflite_file.h"}},
    // Sizes of chunks are compared with zstd's own.
    {"zstd", {"zstd.h"}, {"sync/wire.cpp", "storage/", "tests/support/sensor_data.cpp"}},
    // The test makes the bodies that the node unpacks.
    {"zlib", {"zlib.h"}, {"node/content_coding.cpp", "tests/node/content_coding_test.cpp", "tests/node/rest_protocol_test.cpp", "tests/bench/sync_wire.cpp"}},
    {"simdjson", {"simdjson.h"}, {"node/"}},
    {"spdlog", {"spdlog/"}, {"base/log.cpp"}},
    {"CLI11", {"CLI/"}, {"node/cli/", "node/skerryd_main.cpp", "hub/hub_main.cpp", "learning/worker/"}},
    {"OpenSSL", {"openssl/"}, {"base/file.cpp", "base/internal/http_tls.", "base/random.cpp", "hub/access.cpp", "sync/signature.cpp", "tests/support/certificates.cpp"}},
    {"ZeroMQ", {"zmq.h", "zmq.hpp", "zmq_addon.hpp"}, {"node/zmq_api.cpp", "tests/node/zmq_api_test.cpp", "tests/bench/serving"}},
    {"prometheus-cpp", {"prometheus/"}, {"node/", "hub/"}},
    {"SQLite", {"sqlite3.h", "sqlite3ext.h"}, {"storage/sql.cpp", "storage/internal/sql_table."}},
    {"oneDNN", {"oneapi/", "dnnl.h", "dnnl.hpp"}, {"inference/plan/onednn.cpp"}},
    {"libpqxx", {"pqxx/"}, {}},
    {"libmosquitto", {"mosquitto.h", "mosquittopp.h"}, {}},
    {"libmodbus", {"modbus/", "modbus.h"}, {}},
    {"libsystemd", {"systemd/"}, {"sync/bus_watch.cpp", "tests/support/fake_modem.cpp"}},
    {"Catch2", {"catch2/"}, {"tests/"}},
    {"Google Benchmark", {"benchmark/"}, {"tests/bench/"}},
    {"fmt", {"fmt/"}, {""}},
    {"nlohmann JSON", {"nlohmann/"}, {"base/", "inference/", "learning/", "sync/", "plugins/", "node/", "hub/", "tests/"}},
};

// The C library and the kernel: anywhere.
const std::set<std::string> kSystemHeaders = {"dirent.h",  "dlfcn.h",  "errno.h",  "fcntl.h",   "glob.h",     "ifaddrs.h", "immintrin.h",
                                              "limits.h",  "malloc.h", "netdb.h",  "poll.h",    "pthread.h",  "sched.h",   "signal.h",
                                              "spawn.h",   "stddef.h", "stdint.h", "stdio.h",   "stdlib.h",   "string.h",  "termios.h",
                                              "time.h",    "unistd.h", "utime.h",  "cxxabi.h",  "execinfo.h", "math.h",    "getopt.h",
                                              "cpuid.h"};
const std::vector<std::string> kSystemFolders = {"sys/", "linux/", "net/", "netinet/", "arpa/", "asm/", "bits/"};

struct Include {
  std::string path;
  bool angle = false;
  size_t line = 0;
};

bool starts_with_any(std::string_view text, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return text.starts_with(p); });
}

bool is_source(std::string_view path) {
  for (std::string_view ending : {".h", ".cpp", ".hpp", ".cc", ".c"}) {
    if (path.ends_with(ending)) return true;
  }
  return false;
}

// The folder at the top, or a room within one that has directions of its own.
std::string room_of(const std::string& path) {
  const size_t first = path.find('/');
  const std::string inner = first == std::string::npos ? "" : path.substr(0, path.find('/', first + 1));
  return kDirections.contains(inner) ? inner : path.substr(0, first);
}
std::string folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

// Include lines outside block comments.
std::vector<Include> includes_of(const std::string& content) {
  std::vector<Include> found;
  std::istringstream lines(content);
  std::string line;
  bool in_comment = false;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    if (in_comment) {
      in_comment = line.find("*/") == std::string::npos;
      continue;
    }
    size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos) continue;
    if (line.compare(at, 2, "/*") == 0) {
      in_comment = line.find("*/", at + 2) == std::string::npos;
      continue;
    }
    if (line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    at = line.find_first_of("<\"", at + 7);
    if (at == std::string::npos) continue;
    bool angle = line[at] == '<';
    size_t end = line.find(angle ? '>' : '"', at + 1);
    if (end == std::string::npos) continue;
    found.push_back({line.substr(at + 1, end - at - 1), angle, number});
  }
  return found;
}

template <typename Visit>
void each_include(const Tree& tree, Visit visit) {
  for (const auto& [file, content] : tree) {
    if (!is_source(file) || !kDirections.contains(room_of(file))) continue;
    for (const Include& include : includes_of(content)) visit(file, include);
  }
}

bool names_a_room(const std::string& include) {
  return include.find('/') != std::string::npos && kDirections.contains(room_of(include));
}

const Place* place_of(const std::string& include) {
  for (const Place& place : kPlaces) {
    if (starts_with_any(include, place.headers)) return &place;
  }
  return nullptr;
}

std::string list(const std::vector<std::string>& items) { return items.empty() ? "nothing" : fmt::format("{}", fmt::join(items, ", ")); }

// tests/X mirrors the room X, so it may look inside; fuzz targets feed private parsers.
bool may_look_inside(const std::string& file, const std::string& room) {
  return room_of(file) == room || file.starts_with("tests/" + room + "/") || file.starts_with("tests/fuzz/");
}

void check_readme(const Tree& tree, const std::string& folder, std::vector<Violation>& violations) {
  const std::string readme = folder + "README.md";
  std::set<std::string> headers;
  for (const auto& [file, content] : tree) {
    if (folder_of(file) == folder && file.ends_with(".h")) headers.insert(file.substr(folder.size()));
  }
  std::map<std::string, size_t> listed;
  std::istringstream lines(tree.at(readme));
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    if (!line.starts_with("- `")) continue;
    size_t end = line.find('`', 3);
    if (end == std::string::npos) continue;
    std::string name = line.substr(3, end - 3);
    if (!name.ends_with(".h") || name.find('/') != std::string::npos) continue;
    if (!headers.contains(name)) {
      violations.push_back({readme, number, fmt::format("lists `{}`, which is not in {}: remove the line", name, folder)});
    } else if (line.compare(end + 1, 3, " - ") != 0 || line.size() < end + 8) {
      violations.push_back({readme, number, fmt::format("says nothing about `{}`: write \"- `{}` - what it is\"", name, name)});
    } else if (!listed.emplace(name, number).second) {
      violations.push_back({readme, number, fmt::format("lists `{}` twice: keep one line", name)});
    }
  }
  for (const std::string& header : headers) {
    if (tree.at(readme).find("- `" + header + "`") == std::string::npos) {
      violations.push_back({readme, 0,
                            fmt::format("does not list {}{}: add \"- `{}` - what it is\", or move the header to {}internal/ when no "
                                        "other room includes it",
                                        folder, header, header, folder)});
    }
  }
}

}  // namespace

std::string Violation::text() const { return fmt::format("{}:{}: {}", file, line, message); }

Tree read_tree(const std::filesystem::path& root) {
  Tree tree;
  for (const auto& [room, unused] : kDirections) {
    std::error_code missing;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / room, missing)) {
      if (!entry.is_regular_file()) continue;
      std::string path = std::filesystem::relative(entry.path(), root).generic_string();
      if (!is_source(path) && !path.ends_with("README.md")) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      tree[path] = std::string(std::istreambuf_iterator<char>(in), {});
    }
  }
  return tree;
}

std::vector<Violation> check_directions(const Tree& tree) {
  std::vector<Violation> violations;
  each_include(tree, [&](const std::string& file, const Include& include) {
    const std::string room = room_of(file);
    if (!names_a_room(include.path)) {
      if (!include.angle && place_of(include.path) == nullptr) {
        violations.push_back({file, include.line,
                              fmt::format("includes \"{}\" without its folder: write the path from the root of the source tree", include.path)});
      }
      return;
    }
    const std::string other = room_of(include.path);
    const std::vector<std::string>& allowed = kDirections.at(room);
    if (other != room && !starts_with_any(include.path, allowed)) {
      violations.push_back({file, include.line,
                            fmt::format("{}/ may not include {}: move it, or turn the call around ({}/ may include {})", room, include.path,
                                        room, list(allowed))});
      return;
    }
    if (include.path.find("/internal/") != std::string::npos && !may_look_inside(file, other)) {
      violations.push_back({file, include.line,
                            fmt::format("{} is private to {}/: use a public header of {}/, or make one", include.path, other, other)});
    }
    for (const auto& [folder, guests] : kClosedFolders) {
      if (include.path.starts_with(folder) && !file.starts_with(folder) && !starts_with_any(file, guests)) {
        violations.push_back({file, include.line,
                              fmt::format("{} belongs to a program of its own: move what is shared out of {} into {}/", include.path, folder,
                                          room_of(folder))});
      }
    }
    if (!tree.contains(include.path) && place_of(include.path) == nullptr) {
      violations.push_back({file, include.line, fmt::format("includes {}, which does not exist", include.path)});
    }
  });
  return violations;
}

std::vector<Violation> check_third_party(const Tree& tree) {
  std::vector<Violation> violations;
  each_include(tree, [&](const std::string& file, const Include& include) {
    const std::string& path = include.path;
    const Place* place = place_of(path);
    if (place != nullptr) {
      if (!starts_with_any(file, place->files)) {
        violations.push_back({file, include.line,
                              fmt::format("{} ({}) may be included only in {}: put the call behind a header of the room that owns it, or give "
                                          "it a place in tests/architecture/rules.cpp with the reason",
                                          path, place->library, list(place->files))});
      }
      return;
    }
    if (!include.angle || names_a_room(path)) {
      if (include.angle) {
        violations.push_back({file, include.line, fmt::format("includes our own <{}> as a system header: use quotes", path)});
      }
      return;
    }
    bool standard = path.find('/') == std::string::npos && path.find('.') == std::string::npos;  // <vector>
    if (standard || kSystemHeaders.contains(path) || starts_with_any(path, kSystemFolders)) return;
    violations.push_back({file, include.line,
                          fmt::format("<{}> has no place yet: name its library and the files that may include it in "
                                      "tests/architecture/rules.cpp, and its package in packages.txt",
                                      path)});
  });
  return violations;
}

std::vector<Violation> check_readmes(const Tree& tree) {
  std::vector<Violation> violations;
  for (const auto& [room, unused] : kDirections) {
    if (room == "tests") continue;
    const std::string folder = room + "/";
    bool exists = std::any_of(tree.begin(), tree.end(), [&](const auto& f) { return f.first.starts_with(folder); });
    if (!exists) continue;
    if (!tree.contains(folder + "README.md")) {
      violations.push_back({folder + "README.md", 0,
                            "is missing: write at most a page (purpose, what it may depend on, threads, what happens on failure, one line per "
                            "public header)"});
    }
  }
  for (const auto& [file, content] : tree) {
    if (file.starts_with("tests/") || !file.ends_with("/README.md")) continue;
    if (file.find("/internal/") != std::string::npos) continue;
    check_readme(tree, folder_of(file), violations);
    size_t length = static_cast<size_t>(std::count(content.begin(), content.end(), '\n'));
    if (length > 80) violations.push_back({file, length, "is longer than a page (80 lines): move the details to docs/design/"});
  }
  return violations;
}

}  // namespace skerry::architecture
