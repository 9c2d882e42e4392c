// Formats, each after the byte of its kind:
//   scaled      rule u8 | factor f64 | counts, an integer stream | misses in units of the last place, an integer stream
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

void put_scaled(std::span<const double> values, Scale scale, Writer& out, int depth) {
  std::vector<int64_t> counts(values.size()), misses(values.size());
  for (size_t i = 0; i < values.size(); ++i) counts[i] = nearest_count(scale, values[i]);
  for (size_t i = 0; i < values.size(); ++i) {
    misses[i] = static_cast<int64_t>(std::bit_cast<uint64_t>(values[i]) - std::bit_cast<uint64_t>(apply(scale, counts[i])));
  }
  out.u8(static_cast<uint8_t>(FloatKind::scaled));
  out.u8(static_cast<uint8_t>(scale.rule));
  out.f64(scale.factor);
  encode_integers(counts, out, kDepthMax);  // runs and dictionaries are tried with the floats
  encode_integers(misses, out, depth);
}

bool take_scaled(Reader& in, std::span<double> out, int depth) {
  Scale scale;
  const uint8_t rule = in.u8();
  scale.factor = in.f64();
  if (!in.ok() || rule < 1 || rule > 2) return false;
  scale.rule = static_cast<Scale::Rule>(rule);
  std::vector<int64_t> numbers(out.size());
  if (!decode_integers(in, numbers, depth)) return false;
  if (scale.rule == Scale::Rule::multiply) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_count(numbers[i]) * scale.factor;
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_count(numbers[i]) / scale.factor;
  }
  if (take_zeros(in)) return true;
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

void keep_smaller(Writer& best, Writer& other) {
  if (other.bytes().size() < best.bytes().size()) std::swap(best, other);
}

constexpr double kWorthPatterns = 24;  // bits a value, from which counts are no sure winner

}  // namespace

void encode_floats(std::span<const double> values, Writer& out, int depth) {
  const std::vector<int64_t> patterns = patterns_of(values);
  const ScaleFound found = find_scale(values);
  Writer best;
  best.reserve(values.size() * 2 + 64);
  put_scaled(values, found.scale, best, depth);
  if (found.bits_per_value > kWorthPatterns) {
    Writer other;
    other.u8(static_cast<uint8_t>(FloatKind::patterns));
    encode_packed(patterns, kForPatterns, other);
    keep_smaller(best, other);
  }
  if (depth < kDepthMax && count_runs(patterns) <= values.size() * 3 / 4) {
    const Runs runs = make_runs(patterns);
    Writer other;
    other.u8(static_cast<uint8_t>(FloatKind::runs));
    other.varint(runs.values.size());
    encode_integers(runs.lengths, other, depth + 1);
    encode_floats(values_of(runs.values), other, depth + 1);
    keep_smaller(best, other);
  }
  if (depth < kDepthMax && found.bits_per_value > 0) {
    if (auto dictionary = make_dictionary(patterns, best.bytes().size())) {
      Writer other;
      other.u8(static_cast<uint8_t>(FloatKind::dictionary));
      other.varint(dictionary->values.size());
      encode_floats(values_of(dictionary->values), other, kDepthMax);
      encode_integers(dictionary->indexes, other, depth + 1);
      keep_smaller(best, other);
    }
  }
  if (best.bytes().size() > values.size_bytes()) {
    out.u8(static_cast<uint8_t>(FloatKind::raw));
    out.raw(values.data(), values.size_bytes());
    return;
  }
  out.raw(best.bytes().data(), best.bytes().size());
}

bool decode_floats(Reader& in, std::span<double> out, int depth) {
  switch (static_cast<FloatKind>(in.u8())) {
    case FloatKind::scaled: return take_scaled(in, out, depth);
    case FloatKind::patterns: return take_patterns(in, out);
    case FloatKind::runs: return depth < kDepthMax && take_runs(in, out, depth + 1);
    case FloatKind::dictionary: return depth < kDepthMax && take_dictionary(in, out, depth + 1);
    case FloatKind::raw: return take_raw(in, out);
  }
  return false;
}

}  // namespace skerry::storage::internal
