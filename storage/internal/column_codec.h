// A column's values as bytes, the same in chunks and in sample blocks: which rows have one, then those that are there, each type in the
// smallest of its streams.
// Threads: any; nothing is shared. On failure: decoding answers false for any damaged or hostile input and allocates no more than a small
// multiple of what it takes from the budget.
#pragma once

#include "base/records.h"
#include "storage/internal/coding.h"

namespace skerry::storage::internal {

// Counts down the bytes that may still be decoded.
class Budget {
 public:
  explicit Budget(uint64_t bytes) : left_(bytes) {}
  bool take(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }

 private:
  uint64_t left_;
};

// Of the rows [from, to), how many have a value.
size_t count_present(const Column& column, size_t from, size_t to);

// The rows [from, to), of which `count` have a value. Nothing at all when none has.
void encode_column(const Column& column, size_t from, size_t to, size_t count, Writer& out);

// Fills in values and presence; those of absent rows are zero or empty.
bool decode_column(Reader& in, FieldType type, size_t rows, size_t count, Budget& budget, Column& column);

}  // namespace skerry::storage::internal
