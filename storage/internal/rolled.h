// Records that were rolled up: what is left of them is a row per stretch of 1 s, 1 min or 1 h, in an ordinary chunk. Its columns are
// "\x01rows@NS", the records of the stretch, whose name tells the resolution; and of each field F: F\x01n, the values, F\x01sum, F\x01m2
// (chunk.h, rounded to float), F\x01min, F\x01max, F\x01first, F\x01last. Strings have n, first and last. No field's own name has such a
// character.
// Threads: any; nothing is shared.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/records.h"
#include "storage/chunk.h"
#include "storage/internal/tally.h"

namespace skerry::storage::internal {

inline constexpr std::array<int64_t, 4> kResolutions = {0, 1'000'000'000, 60'000'000'000, 3'600'000'000'000};  // by level; 0: as they came

using FieldList = std::vector<std::pair<std::string, FieldType>>;

// 0: the chunk is not rolled up. Error: corrupt, when it is in a way that this program does not know.
Result<int64_t> resolution_of(const ChunkHeader& header);
Result<int64_t> resolution_of(const Batch& rows);
size_t level_of(int64_t resolution_ns);

// The columns of a rolled chunk that tell of these fields.
std::vector<std::string> rolled_names(const FieldList& fields, int64_t resolution_ns);
// The fields that a rolled chunk tells of.
FieldList rolled_fields(const Batch& rows);
// The records that its rows stand for.
uint64_t rolled_records(const ChunkHeader& header);

// Reads the rows of a rolled chunk as summaries of `fields`, in their order.
class RolledRows {
 public:
  RolledRows(Batch rows, const FieldList& fields, int64_t resolution_ns);
  size_t rows() const { return rows_.rows(); }
  const std::vector<int64_t>& times() const { return rows_.times; }
  int64_t resolution_ns() const { return resolution_ns_; }
  void summary(size_t row, ChunkHeader& out) const;

 private:
  struct Places {  // of columns; SIZE_MAX: there is none
    size_t n, sum, m2, min, max, first, last;
  };
  size_t place(const std::string& name, FieldType type) const;

  Batch rows_;
  FieldList fields_;
  int64_t resolution_ns_;
  size_t records_;
  std::vector<Places> places_;
};

// What the tally knows, as the header of a chunk would say it.
ChunkColumn summary_of(const Tally& tally, const std::string& name, FieldType type);
inline constexpr TallyNeeds kRolledNeeds{true, true, true, true, false};

// One record with the means of a summary: integers to the nearest, strings the last.
Batch mean_record(const ChunkHeader& summary, const Series& series);

// Gathers summaries of stretches into the rows of a rolled chunk.
class RolledBuilder {
 public:
  RolledBuilder(FieldList fields, int64_t resolution_ns);
  size_t rows() const { return batch_.rows(); }
  void add(int64_t time_ns, uint64_t records, const std::vector<Tally>& tallies);  // of the fields, in order
  Batch take();

 private:
  void begin();
  const FieldList fields_;
  const int64_t resolution_ns_;
  Batch batch_;
};

}  // namespace skerry::storage::internal
