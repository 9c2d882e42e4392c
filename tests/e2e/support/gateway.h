// The real skerryd and skerry-hub with a chaos proxy between them, each in a folder of its own: started, killed, restarted, and
// spoken to over REST as any client would.
// Threads: one owner; http::Client objects made from url() may live on other threads.
// Owns: the processes and the folder's content.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/tensor.h"
#include "node/cli/http_client.h"
#include "tests/e2e/support/process.h"
#include "tests/support/chaos_proxy.h"

namespace skerry::e2e {

// A port that nobody listens on just now.
uint16_t free_port();

class Hub {
 public:
  explicit Hub(std::filesystem::path folder, std::string address = "127.0.0.1");
  Status start();                       // ready when it returns
  void kill9() { process_.reset(); }
  std::optional<Exit> terminate();
  bool running() { return process_ && process_->running(); }
  uint16_t port() const { return port_; }
  std::string url() const { return fmt::format("http://{}:{}", address_, port_); }
  std::filesystem::path store() const { return folder_ / "store"; }
  Process& process() { return *process_; }

 private:
  std::filesystem::path folder_;
  std::string address_;
  uint16_t port_;
  std::optional<Process> process_;
};

struct DaemonOptions {
  std::string node = "island";
  std::string hub;                 // URL; empty: sync is off
  std::string http;                // lines for the table [http], e.g. "body_max = \"1 MiB\""
  std::string learning;            // lines for [learning]
  std::string sync;                // lines for [sync]
  std::string more;                // whole tables
  std::string resolv_conf;         // what it sees as /etc/resolv.conf; empty: this machine's. Needs root
};

// One answer to a write, as its sender must see it.
enum class Written { acknowledged, refused, unknown };

struct NodeView {                  // what the daemon says of itself
  uint64_t records = 0, predictions = 0, labelled = 0;
  uint64_t outbox_bytes = 0, outbox_entries = 0;
  bool online = false;
  uint64_t failures = 0;           // exchanges without an answer that makes sense
  uint64_t repeated = 0;           // batches that the hub had already
  std::string learning_state, learning_why;
  uint64_t jobs_started = 0, jobs_failed = 0, promoted = 0, rejected = 0;
  struct Model {
    std::string name;
    uint32_t version = 0;
    uint64_t labelled = 0, correct = 0;
  };
  std::vector<Model> models;       // serving
};

struct Inferred {
  uint32_t version = 0;
  int32_t top = -1;
};

class Daemon {
 public:
  // Writes node.toml into `folder`; data lie in folder/data.
  Daemon(std::filesystem::path folder, const DaemonOptions& options);
  // Until GET /v2/health/ready answers 200. start_time() is how long that took.
  Status start(milliseconds limit = milliseconds(20'000));
  void kill9() { process_.reset(); }
  std::optional<Exit> terminate();
  bool running() { return process_ && process_->running(); }
  milliseconds start_time() const { return start_time_; }

  uint16_t port() const { return port_; }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::filesystem::path config_file() const { return folder_ / "node.toml"; }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path models() const { return data() / "models"; }
  std::filesystem::path store() const { return data() / "store"; }
  const std::filesystem::path& folder() const { return folder_; }
  Process& process() { return *process_; }

 private:
  std::filesystem::path folder_;
  uint16_t port_;
  bool own_names_ = false;         // with a resolv.conf of its own
  std::optional<Process> process_;
  milliseconds start_time_{0};
};

// --- the REST calls, typed. Error: unavailable (no answer), invalid (an error status: its message).
Result<NodeView> view(http::Client& client);
Written write_lines(http::Client& client, const std::string& lines, std::string* why = nullptr);
// Every prediction of `model` whose window lies in the range gets the label. Returns how many were scored.
Result<uint64_t> give_label(http::Client& client, const std::string& model, const std::string& series, int64_t from_ns, int64_t to_ns,
                            const std::string& label);
// End of the newest window of a series that was answered; INT64_MIN when there is none.
Result<int64_t> newest_window_end(http::Client& client, const std::string& model, const std::string& series);
std::string infer_body(const std::vector<int64_t>& shape, const std::vector<float>& raw);
Result<Inferred> infer(http::Client& client, const std::string& model, const std::string& body);
Status promote(http::Client& client, const std::string& model, uint32_t version);
Status train_now(http::Client& client, const std::string& model);
Status rollback(http::Client& client, const std::string& model);
bool ready(uint16_t port);

}  // namespace skerry::e2e
