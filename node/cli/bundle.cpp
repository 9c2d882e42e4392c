// skerry bundle: what a stick carries between a node and its hub (docs/bundle.md).
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/units.h"
#include "config/config.h"
#include "inference/package.h"
#include "node/cli/api.h"
#include "node/cli/print.h"
#include "sync/bundle_files.h"

namespace skerry::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kFilesMax = 100'000;
constexpr uint64_t kPieceBytes = 8 << 20;         // of a model's file, per request
constexpr uint64_t kModelFileBytesMax = 4ull << 30;

// A node that runs is asked; one that does not is read, when its configuration is named.
class NodeSide {
 public:
  static Result<NodeSide> open(const Common& common, const BundleOptions& o) {
    NodeSide side;
    SKERRY_ASSIGN(Api api, Api::open(common.url, std::chrono::minutes(2)));
    auto alive = api.get("/v1/sync");
    if (alive.ok()) {
      side.client_ = http::Client::open(common.url, {.timeout = std::chrono::minutes(2)}).value();
      side.api_ = std::make_unique<Api>(std::move(api));
      return side;
    }
    if (o.config.empty()) {
      return fail(alive.error().code, "{}; a node that does not run is read with --config FILE", alive.error().message);
    }
    SKERRY_ASSIGN(const config::Config config, config::load(o.config));
    side.data_dir_ = config.node.data_dir;
    side.models_ = config.inference.models;
    side.package_bytes_max_ = config.inference.package_bytes_max;
    storage::Options options = config.storage;
    options.node = config.node.name;
    SKERRY_ASSIGN(side.store_, storage::Store::open(options, system_clock()));
    return side;
  }

  Result<std::string> bundle(const BundleOptions& o, const std::map<storage::OutboxClass, uint64_t>& after, uint64_t bytes_max) {
    std::string text;
    for (const auto& [c, seq] : after) text += fmt::format("{}{}:{}", text.empty() ? "" : ",", storage::to_string(c), seq);
    if (api_) {
      const std::string target = "/v1/sync/bundle" + query_string({{"class", o.outbox_class}, {"after", text}, {"bytes_max", std::to_string(bytes_max)},
                                                                   {"again", o.again ? "true" : ""}});
      SKERRY_ASSIGN(auto response, client_->request("GET", target));
      if (response.status != 200) return answered(response);
      return std::move(response.body);
    }
    sync::BundleRequest request{.only = {}, .after = after, .bytes_max = bytes_max, .again = o.again};
    for (storage::OutboxClass c : storage::kOutboxClasses) {
      if (o.outbox_class == storage::to_string(c)) request.only = c;
    }
    if (!o.outbox_class.empty() && !request.only) return fail(Code::invalid, "there is no class '{}'", o.outbox_class);
    return sync::sign_bundle(*store_, request, system_clock(), data_dir_);
  }

  Result<json> receipt(const std::string& bytes) {
    if (api_) return api_->send("POST", "/v1/sync/receipt", bytes);
    SKERRY_ASSIGN(const sync::Receipt receipt, sync::trusted_receipt(bytes, data_dir_));
    SKERRY_ASSIGN(const sync::ReceiptTaken taken, sync::take_receipt(*store_, receipt));
    return sync::taken_json(receipt, taken);
  }

  // A candidate, or what serves when it is the first of its name; a node that does not run finds it when it starts.
  Status model(const fs::path& folder, const std::string& digest) {
    if (api_) {
      std::error_code ignored;
      auto answer = api_->post("/v1/models/import", {{"path", fs::absolute(folder, ignored).string()}, {"digest", digest}});
      return answer.ok() ? Status() : Status(answer.error());
    }
    SKERRY_ASSIGN(const inference::Package package, inference::Package::open(folder, package_bytes_max_));
    if (package.digest != digest) return fail(Code::invalid, "{} is another package than the hub's receipt names", folder.string());
    auto installed = inference::install_package(folder, models_, package_bytes_max_);
    return installed.ok() ? Status() : Status(installed.error());
  }

  static Error answered(const http::Response& response) {
    const json body = json::parse(response.body, nullptr, false);
    return fail(Code::invalid, "{}", body.is_object() && body.contains("error") && body["error"].is_string() ? body["error"].get<std::string>()
                                                                                                            : fmt::format("the answer has status {}", response.status));
  }

 private:
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<storage::Store> store_;
  fs::path data_dir_, models_;
  uint64_t package_bytes_max_ = 0;
};

// The file itself, or the files of a folder with this ending, by name.
Result<std::vector<fs::path>> files_of(const fs::path& path, const std::string& ending) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (!fs::exists(path, error)) return fail(Code::not_found, "{} is not there", path.string());
    return std::vector<fs::path>{path};
  }
  std::vector<fs::path> files;
  for (fs::directory_iterator it(path, error), end; !error && it != end && files.size() < kFilesMax; it.increment(error)) {
    if (it->path().extension() == ending) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) return fail(Code::not_found, "no {} files are in {}", ending, path.string());
  return files;
}

Result<json> export_to(const Common& common, const BundleOptions& o) {
  SKERRY_ASSIGN(NodeSide node, NodeSide::open(common, o));
  std::error_code ignored;
  const fs::path target(o.path);
  const bool folder = fs::is_directory(target, ignored) || target.extension().empty();
  if (folder) fs::create_directories(target, ignored);
  std::map<storage::OutboxClass, uint64_t> after;
  uint64_t records = 0, entries = 0, bytes = 0, files = 0;
  const uint64_t all = o.bytes_max == 0 ? UINT64_MAX : o.bytes_max;
  while (bytes < all && (folder || files == 0)) {
    SKERRY_ASSIGN(const std::string file, node.bundle(o, after, std::min(sync::kBundleBytes, all - bytes)));
    SKERRY_ASSIGN(const sync::OutboxBundle bundle, sync::unpack_outbox(file));
    if (bundle.batches.empty() || (bytes > 0 && bytes + file.size() > all)) break;
    const fs::path path = folder ? target / fmt::format("{}-{:016x}-{:05}.bundle", bundle.head.node, bundle.head.epoch, files + 1) : target;
    if (auto written = write_file_atomic(path, file); !written.ok()) {
      return fail(written.error().code, "{}. {} bundles before it are whole and may be carried; what is missing stays in the outbox", written.error().message, files);
    }
    for (const auto& [c, seq] : bundle.last) after[c] = seq;
    ++files, bytes += file.size(), records += bundle.records, entries += bundle.entries;
  }
  return json{{"files", files}, {"entries", entries}, {"records", records}, {"bytes", bytes}, {"path", o.path}};
}

class HubSide {
 public:
  static Result<HubSide> open(const BundleOptions& o) {
    HubSide side;
    SKERRY_ASSIGN(side.client_, http::Client::open(o.hub, {.timeout = std::chrono::minutes(5)}));
    if (!o.token_file.empty()) {
      SKERRY_ASSIGN(std::string token, read_file(o.token_file, 4096));
      while (!token.empty() && static_cast<unsigned char>(token.back()) <= ' ') token.pop_back();
      side.headers_.emplace_back("Authorization", "Bearer " + token);
    }
    return side;
  }

  // The receipt lies beside its bundle when this returns.
  Result<sync::Receipt> bring(const fs::path& path) {
    SKERRY_ASSIGN(const std::string file, read_file(path, sync::kBundleBytesMax));
    SKERRY_ASSIGN(const auto response, client_->request("POST", "/v1/bundles", file, headers_));
    if (response.status != 200) return fail(Code::invalid, "{}: {}", path.string(), NodeSide::answered(response).message);
    SKERRY_ASSIGN(sync::Receipt receipt, sync::unpack_receipt(response.body));
    SKERRY_TRY(write_file_atomic(fs::path(path).replace_extension(".receipt"), response.body));
    return receipt;
  }

  // The package that a receipt offers, whole or not at all.
  Status fetch(const sync::ModelOffer& m, const fs::path& to) {
    std::error_code error;
    if (!inference::is_model_name(m.model)) return fail(Code::invalid, "the hub offers a model '{}', which is no name", m.model.substr(0, 64));
    const fs::path folder = to / m.model / std::to_string(m.version);
    if (auto there = sha256_file(folder / "manifest", kPieceBytes); there.ok() && *there == m.digest) return {};
    fs::remove_all(folder, error);
    const fs::path part = fs::path(folder).concat(".part");
    fs::remove_all(part, error);
    fs::create_directories(part, error);
    const std::string base = fmt::format("/v1/models/{}/versions/{}/files/", http::percent_encode(m.model), m.version);
    SKERRY_ASSIGN(const auto list, client_->request("GET", "/v1/models", {}, headers_));
    const json models = json::parse(list.body, nullptr, false);
    if (list.status != 200 || !models.is_object()) return NodeSide::answered(list);
    for (const json& one : models.at("models")) {
      if (one.at("model") != m.model || one.at("version") != m.version) continue;
      for (const json& f : one.at("files")) SKERRY_TRY(fetch_file(base, f.at("file").get<std::string>(), f.at("bytes").get<uint64_t>(), part));
    }
    SKERRY_ASSIGN(const inference::Package package, inference::Package::open(part, kModelFileBytesMax));
    if (package.digest != m.digest) return fail(Code::unavailable, "{}/{} changed at the hub while it was fetched: try again", m.model, m.version);
    return publish_folder(part, folder);
  }

 private:
  Status fetch_file(const std::string& base, const std::string& name, uint64_t bytes, const fs::path& into) {
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos || bytes > kModelFileBytesMax) {
      return fail(Code::invalid, "the hub offers a file '{}', which is not to be written", name.substr(0, 64));
    }
    FILE* out = std::fopen((into / name).c_str(), "wb");
    if (out == nullptr) return fail(Code::unavailable, "cannot write {}", (into / name).string());
    Status done;
    for (uint64_t at = 0; done.ok() && at < bytes;) {
      http::Headers headers = headers_;
      headers.emplace_back("Range", fmt::format("bytes={}-{}", at, std::min(bytes, at + kPieceBytes) - 1));
      auto piece = client_->request("GET", base + http::percent_encode(name), {}, headers);
      if (!piece.ok()) done = piece.error();
      else if ((piece->status != 200 && piece->status != 206) || piece->body.empty()) done = NodeSide::answered(*piece);
      else if (std::fwrite(piece->body.data(), 1, piece->body.size(), out) != piece->body.size()) done = fail(Code::exhausted, "cannot write {}: is the stick full?", name);
      else at += piece->body.size();
    }
    if (std::fclose(out) != 0 && done.ok()) done = fail(Code::exhausted, "cannot write {}: is the stick full?", name);
    return done;
  }

  std::unique_ptr<http::Client> client_;
  http::Headers headers_;
};

Result<json> bring(const BundleOptions& o) {
  SKERRY_ASSIGN(const auto files, files_of(o.path, ".bundle"));
  SKERRY_ASSIGN(HubSide hub, HubSide::open(o));
  json list = json::array(), models = json::array();
  std::error_code ignored;
  const fs::path folder = fs::is_directory(o.path, ignored) ? fs::path(o.path) : fs::path(o.path).parent_path();
  for (const fs::path& path : files) {
    SKERRY_ASSIGN(const sync::Receipt receipt, hub.bring(path));
    json classes = json::object(), problems = json::array();
    for (const auto& c : receipt.classes) {
      classes[storage::to_string(c.outbox_class)] = {{"verified", c.verified}, {"watermark", c.watermark}};
      if (!c.problem.empty()) problems.push_back(fmt::format("{}: {}", storage::to_string(c.outbox_class), c.problem));
    }
    list.push_back({{"bundle", path.filename().string()}, {"node", receipt.head.node}, {"classes", classes}, {"problems", problems}});
    if (&path != &files.back()) continue;
    for (const auto& m : receipt.models) {
      SKERRY_TRY(hub.fetch(m, folder / "models"));
      models.push_back(fmt::format("{}/{}", m.model, m.version));
    }
  }
  return json{{"brought", list}, {"models", models}};
}

Result<json> take(const Common& common, const BundleOptions& o) {
  SKERRY_ASSIGN(const auto files, files_of(o.path, ".receipt"));
  SKERRY_ASSIGN(NodeSide node, NodeSide::open(common, o));
  json list = json::array();
  std::error_code ignored;
  const fs::path folder = fs::is_directory(o.path, ignored) ? fs::path(o.path) : fs::path(o.path).parent_path();
  for (const fs::path& path : files) {
    SKERRY_ASSIGN(const std::string bytes, read_file(path, sync::kBundleBytesMax));
    auto taken = node.receipt(bytes);
    if (!taken.ok()) return fail(taken.error().code, "{}: {}", path.filename().string(), taken.error().message);
    (*taken)["receipt"] = path.filename().string();
    json models = json::array();
    for (const json& m : taken->at("models")) {
      const std::string name = m.at("model").get<std::string>(), version = std::to_string(m.at("version").get<uint32_t>());
      const fs::path package = folder / "models" / name / version;
      if (!inference::is_model_name(name) || !fs::exists(package, ignored)) continue;
      if (auto imported = node.model(package, m.at("digest").get<std::string>()); !imported.ok()) (*taken)["problems"].push_back(imported.error().message);
      else models.push_back(name + "/" + version);
    }
    (*taken)["models"] = models;
    list.push_back(*taken);
  }
  return json{{"taken", list}};
}

Result<json> show(const BundleOptions& o) {
  SKERRY_ASSIGN(const std::string file, read_file(o.path, sync::kBundleBytesMax));
  if (auto b = sync::unpack_outbox(file); b.ok()) {
    return json{{"kind", "outbox"}, {"node", b->head.node}, {"epoch", b->head.epoch}, {"made", format_time(b->head.made_ns)}, {"signer", b->head.signer},
                {"entries", b->entries}, {"records", b->records}, {"bytes", file.size()}};
  }
  auto r = sync::unpack_receipt(file);
  if (!r.ok()) return sync::unpack_outbox(file).error();
  json classes = json::object();
  for (const auto& c : r->classes) classes[storage::to_string(c.outbox_class)] = {{"verified", c.verified}, {"watermark", c.watermark}, {"problem", c.problem}};
  return json{{"kind", "receipt"}, {"node", r->head.node}, {"epoch", r->head.epoch}, {"made", format_time(r->head.made_ns)}, {"signer", r->head.signer}, {"hub", r->hub},
              {"classes", classes}};
}

Result<json> keygen(const BundleOptions& o) {
  SKERRY_ASSIGN(const sync::SigningKey key, sync::SigningKey::make());
  SKERRY_TRY(key.write(o.path));
  return json{{"file", o.path}, {"name", o.name.empty() ? "node" : o.name}, {"public_key", key.public_key()}};
}

void print_problems(const json& of) {
  for (const json& p : of.at("problems")) print_line("  not all: " + p.get<std::string>());
}

void print(const BundleOptions& o, const json& a) {
  if (o.action == "keygen") {
    std::fprintf(stderr, "%s holds the private key: it stays here. The line for the other side's file of trusted keys:\n", o.path.c_str());
    return print_line(fmt::format("{} {}", text(a.at("name")), text(a.at("public_key"))));
  }
  if (o.action == "export") {
    if (a.at("files") == 0) return print_line("nothing waits: no bundle was written");
    return print_line(fmt::format("{} bundles with {} records in {} entries, {}, in {}. They stay in the outbox until the hub's receipt is imported", text(a.at("files")),
                                  thousands(a.at("records").get<uint64_t>()), thousands(a.at("entries").get<uint64_t>()), format_bytes(a.at("bytes").get<uint64_t>()), o.path));
  }
  if (o.action == "show") return print_json(a);
  if (a.contains("brought")) {
    for (const json& b : a.at("brought")) {
      std::string held;
      for (const auto& [name, c] : b.at("classes").items()) held += fmt::format("{}{} up to {}", held.empty() ? "" : ", ", name, text(c.at("watermark")));
      print_line(fmt::format("{}: the hub holds of {} {}", text(b.at("bundle")), text(b.at("node")), held.empty() ? "nothing new" : held));
      print_problems(b);
    }
    for (const json& m : a.at("models")) print_line("model " + text(m) + " is beside them");
    return print_line("now carry the folder back: skerry bundle import " + o.path);
  }
  for (const json& t : a.at("taken")) {
    uint64_t entries = 0;
    for (const auto& [name, n] : t.at("acknowledged").items()) entries += n.get<uint64_t>();
    print_line(fmt::format("{}: {} entries acknowledged by {}", text(t.at("receipt")), thousands(entries), text(t.at("hub"))));
    print_problems(t);
    if (t.at("epoch_begins").get<bool>()) print_line("  the hub has another history: what is left goes under a new epoch, as soon as the daemon runs");
    for (const json& m : t.at("models")) print_line("  model " + text(m) + " taken in");
  }
}

}  // namespace

int bundle(const Common& common, const BundleOptions& o) {
  Result<json> answer = o.action == "keygen"   ? keygen(o)
                        : o.action == "export" ? export_to(common, o)
                        : o.action == "show"   ? show(o)
                        : o.hub.empty()        ? take(common, o)
                                               : bring(o);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) print_json(*answer);
  else print(o, *answer);
  bool whole = true;
  for (const char* list : {"brought", "taken"}) {
    for (const json& one : answer->value(list, json::array())) whole = whole && one.at("problems").empty();
  }
  return whole ? 0 : 1;
}

}  // namespace skerry::cli
