// A column of integers as bytes: the smallest of a line, runs, a dictionary, and bit packed blocks of 128 with the residuals of a
// predictor per block. Also the two shapes that floats share with integers: runs and dictionaries of 64 bit values.
// Threads: any; nothing is shared. On failure: decoding answers false for any damaged or hostile input; the caller has bounded `out`,
// and nothing larger than `out` is allocated.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

// Persistent: never renumber.
enum class IntegerKind : uint8_t { line = 1, packed = 2, runs = 3, dictionary = 4 };

// Runs and dictionaries hold streams themselves; `depth` says how many are around this one. Below kDepthMax there are none of either, so
// that hostile bytes can't nest without end.
inline constexpr int kDepthMax = 2;
void encode_integers(std::span<const int64_t> values, Writer& out, int depth = 0);
bool decode_integers(Reader& in, std::span<int64_t> out, int depth = 0);

// How a value is guessed from those before it. Persistent: never renumber.
enum class Predictor : uint8_t { level = 0, slope = 1, curve = 2, bits = 3 };  // differences of order 0, 1, 2; exclusive or
inline constexpr unsigned kPredictors = 4;

// Bit packed blocks; each takes the predictor among `allowed` (a bit per Predictor) that a look at the block favours.
inline constexpr unsigned kForIntegers = 0b0111, kForPatterns = 0b1111;
void encode_packed(std::span<const int64_t> values, unsigned allowed, Writer& out);
bool decode_packed(Reader& in, std::span<int64_t> out);

// Replaces what `out` has from `at` on by `other`, when that is smaller.
void keep_smaller(Writer& out, size_t at, Writer& other);

// Runs of equal values.
struct Runs {
  std::vector<int64_t> lengths, values;
};
size_t count_runs(std::span<const int64_t> values);
Runs make_runs(std::span<const int64_t> values);
// Lengths have been checked when this is called: each at least 1, all together out.size().
void expand_runs(const Runs& runs, std::span<int64_t> out);
// Reads how many there are and their lengths, a stream at `depth`; `values` has the size it needs. Nullopt: damaged.
std::optional<Runs> take_run_lengths(Reader& in, size_t rows, int depth);

// Distinct values in ascending order and, per row, which one it is.
struct Dictionary {
  std::vector<int64_t> values, indexes;
};
// Nullopt when it could not be smaller than `bytes`, as far as a sample and the count of distinct values tell.
std::optional<Dictionary> make_dictionary(std::span<const int64_t> values, size_t bytes);
// Replaces indexes by values. False: an index out of range.
bool look_up(std::span<const int64_t> values, std::span<int64_t> indexes);

}  // namespace skerry::storage::internal
