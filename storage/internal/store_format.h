// The layout of the store: column families and keys. Persistent: never renumber, never reuse a letter.
//
//   family    key                                              value
//   head      series id | first time | block number            sample block (sample_block.h), not sealed yet
//   index     series id | first time | number of first block   what is sealed into a chunk (internal/sealed_row.h)
//   chunks    generation | the key in `index`                  chunk (chunk.h)
//   outbox    class | seq                                      queued row (internal/outbox_row.h)
//   ledger    'p' | prediction id                              prediction (record_format.h)
//             'w' | hash of series | window.from | id          empty: finds predictions of a series by time
//   labels    label id                                         label
//   examples  'e' | example id                                 example
//             'm' | model | id                                 role, class: what the row 'e' is
//             'w' | model | hash of series | window            example id: finds the example to replace
//             'q' | model | role | class | id                  its hardness, if any: which of a class goes first
//   models    model | version                                  model version
//   default   'i'                                              identity and format of the store
//             'c'                                              next ids
//             'o' | class                                      state of an outbox class
//             'd' | class                                      what it lost (internal/dropped.h); no row: nothing
//             's' | series id                                  series and its fields
//             't' | series id                                  series' counts and times
//             'v' | model | version                            live score
//             'x' | model | role | class                       number of examples
//             'n' | name                                       note
//             'p' | id of the producer                         its last number (internal/producers.h)
//             'l' | series id | reason | from                  loss (internal/losses.h); of an outbox class: kClassLosses + class;
//                                                              of what was rolled up: | resolution
//
// A generation is what was sealed at one moment. It comes first in the key, so that the tables of two generations never overlap: RocksDB
// moves them from level to level without ever writing them again, and one whose chunks are all gone is deleted as a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/internal/coding.h"
#include "storage/types.h"

namespace skerry::storage::internal {

inline constexpr uint32_t kStoreFormat = 1;

// Order of kFamilyNames. Meta is RocksDB's default family, which has to exist.
enum Family : uint8_t { kMeta, kHead, kOutbox, kLedger, kLabels, kExamples, kModels, kIndex, kChunks, kFamilyCount };
inline constexpr const char* kFamilyNames[kFamilyCount] = {"default",  "head",   "outbox", "ledger", "labels",
                                                           "examples", "models", "index",  "chunks"};

// Start of the stretch of `span_ns`, counted from 1970, in which a time lies; never below INT64_MIN.
inline int64_t span_start(int64_t ns, int64_t span_ns) {
  const int64_t into = ((ns % span_ns) + span_ns) % span_ns;
  return ns < INT64_MIN + into ? INT64_MIN : ns - into;
}
// No block and no chunk crosses the border of a week of record time, so a range read never looks back farther.
inline constexpr int64_t kWeekNs = 7LL * 24 * 3'600'000'000'000;

namespace key {

template <typename... Parts>
std::string build(Parts... parts) {
  Writer out;
  (parts(out), ...);
  return out.take();
}
inline auto letter(char c) {
  return [c](Writer& out) { out.u8(static_cast<uint8_t>(c)); };
}
inline auto u8(uint8_t v) {
  return [v](Writer& out) { out.u8(v); };
}
inline auto u32(uint32_t v) {
  return [v](Writer& out) { out.key32(v); };
}
inline auto u64(uint64_t v) {
  return [v](Writer& out) { out.key64(v); };
}
inline auto time(int64_t v) {
  return [v](Writer& out) { out.key_time(v); };
}
inline auto text(std::string_view v) {
  return [v](Writer& out) { out.key_text(v); };
}

// FNV-1a. Keys carry it instead of the whole text; readers compare the text, so a collision costs a look, not the
// truth.
inline uint64_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325;
  for (char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return h;
}

inline std::string run(uint32_t series, int64_t first_ns, uint64_t block) {  // in head and in index
  return build(u32(series), time(first_ns), u64(block));
}
inline std::string chunk(uint64_t generation, std::string_view index_key) {
  std::string out = build(u64(generation));
  return out.append(index_key);
}
inline std::string outbox(OutboxClass c, uint64_t seq) { return build(u8(static_cast<uint8_t>(c)), u64(seq)); }

inline std::string prediction(PredictionId id) { return build(letter('p'), u64(number(id))); }
inline std::string prediction_by_window(uint64_t series, int64_t from, PredictionId id) {
  return build(letter('w'), u64(series), time(from), u64(number(id)));
}
inline std::string label(LabelId id) { return build(u64(number(id))); }

inline std::string example(ExampleId id) { return build(letter('e'), u64(number(id))); }
inline std::string example_of_model(std::string_view model, ExampleId id) {
  return build(letter('m'), text(model), u64(number(id)));
}
inline std::string example_by_window(const Example& e) {
  return build(letter('w'), text(e.model), u64(hash(e.series)), time(e.window.from_ns), time(e.window.to_ns));
}
inline std::string example_of_class(std::string_view model, ExampleRole role, int32_t label, ExampleId id) {
  return build(letter('q'), text(model), u8(static_cast<uint8_t>(role)), u32(static_cast<uint32_t>(label)),
               u64(number(id)));
}

inline std::string hardness_row(const Example& e) { return e.hardness == 0 ? std::string() : build(u8(e.hardness)); }

inline std::string version(std::string_view model, uint32_t version) { return build(text(model), u32(version)); }

inline std::string identity() { return "i"; }
inline std::string counters() { return "c"; }
inline std::string outbox_class(OutboxClass c) { return build(letter('o'), u8(static_cast<uint8_t>(c))); }
inline std::string outbox_dropped(OutboxClass c) { return build(letter('d'), u8(static_cast<uint8_t>(c))); }
inline std::string series(uint32_t id) { return build(letter('s'), u32(id)); }
inline std::string series_totals(uint32_t id) { return build(letter('t'), u32(id)); }
inline std::string score(std::string_view model, uint32_t version) {
  return build(letter('v'), text(model), u32(version));
}
inline std::string example_count(std::string_view model, ExampleRole role, int32_t label) {
  return build(letter('x'), text(model), u8(static_cast<uint8_t>(role)), u32(static_cast<uint32_t>(label)));
}
inline std::string loss(uint32_t series, LossReason reason, int64_t from_ns) {
  return build(letter('l'), u32(series), u8(static_cast<uint8_t>(reason)), time(from_ns));
}
inline std::string producer(std::string_view id) { return "p" + std::string(id); }
inline std::string note(std::string_view name) { return "n" + std::string(name); }

}  // namespace key
}  // namespace skerry::storage::internal
