// The records of a range, or its buckets, page by page, for whoever pulls instead of being called: exports, SQL. Each page is bounded in rows and bytes and
// is read as the store stands at that moment; the range goes on behind the last time that was given.
// Threads: one at a time.
// On failure: next() answers the store's error, and may be called again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "storage/aggregate.h"
#include "storage/store.h"

namespace skerry::storage {

struct PageLimits {
  size_t rows_max = 16'384;
  size_t bytes_max = 1 << 20;  // of the values; one record may exceed it
};

class Pages {
 public:
  // All fields when `fields` is empty. `store` must outlive it.
  Pages(const Store& store, Series series, TimeRange range, std::vector<std::string> fields, const PageLimits& limits);

  // At most rows_max more records, in time order. Without any: the end. Error: as Store::scan.
  Result<Batch> next(size_t rows_max = SIZE_MAX);

 private:
  const Store& store_;
  const Series series_;
  TimeRange range_;
  const std::vector<std::string> fields_;
  const PageLimits limits_;
};

// Buckets of an aggregate, some hundred at a time.
class BucketPages {
 public:
  BucketPages(const Store& store, AggregateQuery query) : store_(store), query_(std::move(query)) {}
  // Without any: the end. Error: as aggregate().
  Result<Batch> next();

 private:
  const Store& store_;
  AggregateQuery query_;
};

}  // namespace skerry::storage
