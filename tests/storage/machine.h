// A store on a disk that can lose what was not synced, with a simulated clock: what the tests of this room start from.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "storage/store.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::storage::test {

struct Machine {
  skerry::test::TempDir folder;
  skerry::test::SimClock clock;
  skerry::test::FaultFs disk;
  Options options;
  std::unique_ptr<Store> store;

  // Without rules every stream is as the defaults say. A small write buffer makes a short test write tables and merge them too.
  explicit Machine(std::vector<StreamRule> rules = {}, uint64_t write_buffer_bytes = Options{}.write_buffer_bytes) {
    options.path = folder / "store";
    options.file_system = disk.file_system();
    options.write_buffer_bytes = write_buffer_bytes;
    if (!rules.empty()) options.streams = std::move(rules);
    start();
  }
  Result<std::unique_ptr<Store>> open() { return Store::open(options, clock); }
  void start() {
    store.reset();
    auto opened = open();
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
  }
  void power_cut() {
    disk.cut_power();
    store.reset();
    disk.restore_power();
    start();
  }
  Result<Receipt> put(Batch batch) {
    Effect effect;
    effect.batches.push_back(std::move(batch));
    return store->commit(effect);
  }
  OutboxStatus outbox(OutboxClass c) const {
    for (const OutboxStatus& s : store->outbox_status()) {
      if (s.outbox_class == c) return s;
    }
    return {};
  }
};

}  // namespace skerry::storage::test
