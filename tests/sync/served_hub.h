// The real hub behind the real server, in this process.
#pragma once

#include <catch2/catch.hpp>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/http_server.h"
#include "hub/access.h"
#include "hub/api.h"
#include "hub/receiver.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/temp_dir.h"

namespace skerry::sync::test {

// Serves `handler` on a free port until destroyed.
class Served {
 public:
  explicit Served(http::Handler handler, uint64_t body_bytes_max = kEnvelopeBytesMax, const std::optional<http::TlsFiles>& tls = {}) {
    auto opened = http::Server::open({.port = 0, .body_bytes_max = body_bytes_max, .tls = tls}, std::move(handler));
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    server_ = std::move(*opened);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Served() {
    server_->stop();
    thread_.join();
  }
  uint16_t port() const { return server_->port(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }

 private:
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

struct Guard {
  std::optional<http::TlsFiles> tls;
  hub::AccessOptions access;
};

class ServedHub {
 public:
  explicit ServedHub(const Clock& clock, const Guard& guard = {}) {
    auto opened = hub::Receiver::open({.path = dir_ / "hub", .name = "hub", .file_system = skerry::test::hasty_file_system()}, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    receiver_ = std::move(*opened);
    auto access = hub::Access::open(guard.access, clock);
    INFO((access.ok() ? "" : access.error().message));
    REQUIRE(access.ok());
    access_ = std::move(*access);
    api_ = std::make_unique<hub::Api>(*receiver_, hub::ApiOptions{}, clock, access_.get());
    served_ = std::make_unique<Served>([this](http::Request& request) { return api_->handle(request); }, kEnvelopeBytesMax, guard.tls);
  }
  hub::Receiver& receiver() { return *receiver_; }
  uint16_t port() const { return served_->port(); }
  std::string url() const { return served_->url(); }

 private:
  skerry::test::TempDir dir_;
  std::unique_ptr<hub::Receiver> receiver_;
  std::unique_ptr<hub::Access> access_;
  std::unique_ptr<hub::Api> api_;
  std::unique_ptr<Served> served_;
};

}  // namespace skerry::sync::test
