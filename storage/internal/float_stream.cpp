// Formats, each after the byte of its kind:
//   scaled      place of the divisor u8, or 255 and the factor f64 | counts, an integer stream
//   near        as scaled | by how many units in the last place the values miss that, an integer stream
//   patterns    the bits of the values, packed blocks
//   runs        count varint | lengths, an integer stream | values, a float stream
//   dictionary  count varint | values, a float stream | indexes, an integer stream
//   raw         the values
#include "storage/internal/float_stream.h"

#include <optional>
#include <vector>

#include "storage/internal/float_scale.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage::internal {
namespace {

std::vector<int64_t> patterns_of(std::span<const double> values) {
  std::vector<int64_t> patterns(values.size());
  if (!values.empty()) std::memcpy(patterns.data(), values.data(), values.size_bytes());
  return patterns;
}

std::vector<double> values_of(std::span<const int64_t> patterns) {
  std::vector<double> values(patterns.size());
  if (!patterns.empty()) std::memcpy(values.data(), patterns.data(), patterns.size_bytes());
  return values;
}

int64_t missed_by(double value, Scale scale, int64_t count) {
  return static_cast<int64_t>(std::bit_cast<uint64_t>(value) - std::bit_cast<uint64_t>(apply(scale, count)));
}

// Each rule has its own loop, without a branch. Returns whether every value is hit to the last bit.
template <Scale::Rule rule>
bool count_all(std::span<const double> values, double factor, std::vector<int64_t>& counts) {
  const Scale scale{rule, factor};
  uint64_t missed = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    counts[i] = nearest_count(scale, values[i]);
    missed |= static_cast<uint64_t>(missed_by(values[i], scale, counts[i]));
  }
  return missed == 0;
}

// Returns whether every value is hit, so that nothing but the counts was written.
bool put_scaled(std::span<const double> values, Scale scale, Writer& out, int depth) {
  std::vector<int64_t> counts(values.size());
  const bool all_hit = scale.rule == Scale::Rule::multiply ? count_all<Scale::Rule::multiply>(values, scale.factor, counts)
                                                           : count_all<Scale::Rule::divide>(values, scale.factor, counts);
  out.u8(static_cast<uint8_t>(all_hit ? FloatKind::scaled : FloatKind::near));
  put_scale(scale, out);
  encode_integers(counts, out, all_hit ? depth : kDepthMax);  // of misses too: runs and dictionaries are tried with the floats
  if (all_hit) return true;
  for (size_t i = 0; i < values.size(); ++i) counts[i] = missed_by(values[i], scale, counts[i]);
  encode_integers(counts, out, depth);
  return false;
}

bool take_scaled(Reader& in, std::span<double> out, int depth, FloatKind kind) {
  Scale scale;
  std::vector<int64_t> numbers(out.size());
  if (!take_scale(in, scale) || !decode_integers(in, numbers, depth)) return false;
  if (scale.rule == Scale::Rule::multiply) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_count(numbers[i]) * scale.factor;
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_count(numbers[i]) / scale.factor;
  }
  if (kind == FloatKind::scaled) return true;
  if (!decode_integers(in, numbers, depth)) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = std::bit_cast<double>(std::bit_cast<uint64_t>(out[i]) + static_cast<uint64_t>(numbers[i]));
  }
  return true;
}

bool take_patterns(Reader& in, std::span<double> out) {
  std::vector<int64_t> patterns(out.size());
  if (!decode_packed(in, patterns)) return false;
  if (!out.empty()) std::memcpy(out.data(), patterns.data(), out.size_bytes());
  return true;
}

bool take_runs(Reader& in, std::span<double> out, int depth) {
  std::optional<Runs> runs = take_run_lengths(in, out.size(), depth);
  if (!runs) return false;
  std::vector<double> values(runs->values.size());
  if (!decode_floats(in, values, depth)) return false;
  auto to = out.begin();
  for (size_t i = 0; i < values.size(); ++i) to = std::fill_n(to, runs->lengths[i], values[i]);
  return true;
}

bool take_dictionary(Reader& in, std::span<double> out, int depth) {
  const uint64_t count = in.varint();
  if (!in.ok() || count > out.size()) return false;
  std::vector<double> values(count);
  std::vector<int64_t> indexes(out.size());
  if (!decode_floats(in, values, depth) || !decode_integers(in, indexes, depth)) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (static_cast<uint64_t>(indexes[i]) >= count) return false;
    out[i] = values[static_cast<size_t>(indexes[i])];
  }
  return true;
}

bool take_raw(Reader& in, std::span<double> out) {
  const std::string_view bytes = in.raw(out.size_bytes());
  if (!in.ok()) return false;
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return true;
}

constexpr double kWorthPatterns = 24;  // bits a value, from which counts are no sure winner

// What does not need a scale: replaces what `out` has from `at` on when it is smaller.
void try_patterns(std::span<const double> values, double scaled_bits, size_t at, Writer& out, int depth) {
  const std::vector<int64_t> patterns = patterns_of(values);
  if (scaled_bits > kWorthPatterns) {
    Writer other;
    other.u8(static_cast<uint8_t>(FloatKind::patterns));
    encode_packed(patterns, kForPatterns, other);
    keep_smaller(out, at, other);
  }
  if (depth >= kDepthMax) return;
  if (count_runs(patterns) <= values.size() * 3 / 4) {
    const Runs runs = make_runs(patterns);
    Writer other;
    other.u8(static_cast<uint8_t>(FloatKind::runs));
    other.varint(runs.values.size());
    encode_integers(runs.lengths, other, depth + 1);
    encode_floats(values_of(runs.values), other, depth + 1);
    keep_smaller(out, at, other);
  }
  if (scaled_bits <= 0) return;
  if (auto dictionary = make_dictionary(patterns, out.bytes().size() - at)) {
    Writer other;
    other.u8(static_cast<uint8_t>(FloatKind::dictionary));
    other.varint(dictionary->values.size());
    encode_floats(values_of(dictionary->values), other, kDepthMax);
    encode_integers(dictionary->indexes, other, depth + 1);
    keep_smaller(out, at, other);
  }
}

}  // namespace

void encode_floats(std::span<const double> values, Writer& out, int depth) {
  const size_t at = out.bytes().size();
  const ScaleFound found = find_scale(values);
  const bool counts_win = put_scaled(values, found.scale, out, depth) && found.bits_per_value <= kWorthPatterns;
  if (!counts_win) try_patterns(values, found.bits_per_value, at, out, depth);
  if (out.bytes().size() - at <= values.size_bytes()) return;
  out.bytes().resize(at);
  out.u8(static_cast<uint8_t>(FloatKind::raw));
  out.raw(values.data(), values.size_bytes());
}

bool decode_floats(Reader& in, std::span<double> out, int depth) {
  switch (static_cast<FloatKind>(in.u8())) {
    case FloatKind::scaled: return take_scaled(in, out, depth, FloatKind::scaled);
    case FloatKind::near: return take_scaled(in, out, depth, FloatKind::near);
    case FloatKind::patterns: return take_patterns(in, out);
    case FloatKind::runs: return depth < kDepthMax && take_runs(in, out, depth + 1);
    case FloatKind::dictionary: return depth < kDepthMax && take_dictionary(in, out, depth + 1);
    case FloatKind::raw: return take_raw(in, out);
  }
  return false;
}

}  // namespace skerry::storage::internal
