// A column of floats as bytes, to the last bit: the smallest of scaled integers, the bit patterns under the predictors of integer_stream.h
// (exclusive or among them, as in Gorilla: Pelkonen et al., VLDB 2015, but with the window of meaningful bits per block of 128), runs,
// and a dictionary.
// Threads: any. On failure: decoding answers false for any damaged or hostile input.
#pragma once

#include <cstdint>
#include <span>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

// Persistent: never renumber.
enum class FloatKind : uint8_t { scaled = 1, near = 2, patterns = 3, runs = 4, dictionary = 5, raw = 6 };

void encode_floats(std::span<const double> values, Writer& out, int depth = 0);
bool decode_floats(Reader& in, std::span<double> out, int depth = 0);

}  // namespace skerry::storage::internal
