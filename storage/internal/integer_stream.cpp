// Formats, each after the byte of its kind:
//   line        first and step as zigzag varints
//   packed      unit varint (values are first + unit * n) | first | step | blocks of 128
//     block     width u8, 0x80: has exceptions | predictor u8, its shift << 2 | centre varint (not of `bits`)
//               [exceptions u8 | their positions u8 each | what is above the width, a varint each] | the packed residuals
//   runs        count varint | lengths, an integer stream | values, an integer stream
//   dictionary  count varint | values, an integer stream | indexes, an integer stream
#include "storage/internal/integer_stream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "storage/internal/bit_packing.h"

namespace skerry::storage::internal {
namespace {

// Differences wrap around as unsigned numbers do, so that every int64 has one.
uint64_t u(int64_t v) { return static_cast<uint64_t>(v); }
int64_t s(uint64_t v) { return static_cast<int64_t>(v); }

// How far apart, of the difference that wraps around: a unit divides it in either direction.
uint64_t distance(int64_t a, int64_t b) {
  const int64_t difference = s(u(a) - u(b));
  return difference < 0 ? 0 - u(difference) : u(difference);
}

constexpr uint8_t kHasExceptions = 0x80;
constexpr uint64_t kUnitMax = uint64_t{1} << 62;

// What a block knows of the values before it.
struct Before {
  int64_t value = 0;
  uint64_t step = 0;
};

using Block = std::array<int64_t, kPackedBlock>;
using Packed = std::array<uint64_t, kPackedBlock>;

// Room for the block at work, made once per stream.
struct Workspace {
  Block residuals{};
  Packed packed{}, other{};
};

// The values less what the predictor says; Before moves on to the end of the block.
void predict(std::span<const int64_t> values, Predictor predictor, const Before& before, Block& out) {
  const size_t n = values.size();
  switch (predictor) {
    case Predictor::level:
      std::copy(values.begin(), values.end(), out.begin());
      break;
    case Predictor::slope:
      out[0] = s(u(values[0]) - u(before.value));
      for (size_t i = 1; i < n; ++i) out[i] = s(u(values[i]) - u(values[i - 1]));
      break;
    case Predictor::curve:
      out[0] = s(u(values[0]) - u(before.value) - before.step);
      if (n > 1) out[1] = s(u(values[1]) - 2 * u(values[0]) + u(before.value));
      for (size_t i = 2; i < n; ++i) out[i] = s(u(values[i]) - 2 * u(values[i - 1]) + u(values[i - 2]));
      break;
    case Predictor::bits:
      out[0] = values[0] ^ before.value;
      for (size_t i = 1; i < n; ++i) out[i] = values[i] ^ values[i - 1];
      break;
  }
}

void restore(std::span<int64_t> values, Predictor predictor, const Before& before) {
  uint64_t last = u(before.value), step = before.step;
  switch (predictor) {
    case Predictor::level:
      break;
    case Predictor::slope:
      for (int64_t& v : values) v = s(last += u(v));
      break;
    case Predictor::curve:
      for (int64_t& v : values) v = s(last += step += u(v));
      break;
    case Predictor::bits:
      for (int64_t& v : values) v = s(last ^= u(v));
      break;
  }
}

Before after(std::span<const int64_t> values, const Before& before) {
  const int64_t last_but_one = values.size() > 1 ? values[values.size() - 2] : before.value;
  return {values.back(), u(values.back()) - u(last_but_one)};
}

int64_t middle_of(int64_t a, int64_t b, int64_t c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

// The middle of a few residuals spread over the block: outliers do not move it (Tukey's ninther, 1978).
int64_t middle_of_some(const int64_t* residuals, size_t n) {
  std::array<int64_t, 3> middles;
  for (size_t i = 0; i < 3; ++i) {
    middles[i] = middle_of(residuals[(6 * i + 1) * n / 18], residuals[(6 * i + 3) * n / 18], residuals[(6 * i + 5) * n / 18]);
  }
  return middle_of(middles[0], middles[1], middles[2]);
}

struct Range {
  int64_t low = 0, high = 0;
  uint64_t width() const { return u(high) - u(low); }
  // Rounded up: zigzag has a number more below zero than above it.
  int64_t middle() const { return s(u(low) + width() / 2 + width() % 2); }
};
Range range_of(const Block& residuals, size_t n) {
  Range range{residuals[0], residuals[0]};
  for (size_t i = 1; i < n; ++i) {
    range.low = std::min(range.low, residuals[i]);
    range.high = std::max(range.high, residuals[i]);
  }
  return range;
}

uint64_t centred(int64_t value, int64_t centre) { return zigzag(s(u(value) - u(centre))); }

// A block as it would be written.
struct Plan {
  Predictor predictor = Predictor::level;
  unsigned shift = 0;  // of `bits`: low bits that are zero in the whole block
  int64_t centre = 0;
  unsigned width = 0;
  size_t exceptions = 0;
  size_t cost = SIZE_MAX;  // bytes, about
};

size_t exception_bytes(unsigned bits_above) { return 1 + (bits_above + 6) / 7; }

// How many of the residuals have each width.
using Widths = std::array<size_t, 65>;

// All are below 2^52: as doubles they carry their width in the exponent, which takes no instruction that only some machines have quickly.
void count_narrow(const Packed& residuals, size_t n, unsigned widest, Widths& of_width) {
  constexpr uint64_t kBias = std::bit_cast<uint64_t>(0x1p52);
  std::array<uint64_t, kPackedBlock> exponents;
  for (size_t i = 0; i < n; ++i) {
    exponents[i] = std::bit_cast<uint64_t>(std::bit_cast<double>(residuals[i] | kBias) - 0x1p52) >> 52;
  }
  constexpr size_t kExponentOfOne = 1023;
  std::array<std::array<uint8_t, 64>, 4> counts{};  // taken in turns, so that no increment waits for the one before it
  for (size_t i = 0; i < n; ++i) ++counts[i % 4][exponents[i] % 64];
  for (size_t width = 1; width <= widest; ++width) {
    const size_t at = (kExponentOfOne + width - 1) % 64;
    of_width[width] = size_t{counts[0][at]} + counts[1][at] + counts[2][at] + counts[3][at];
  }
  of_width[0] = size_t{counts[0][0]} + counts[1][0] + counts[2][0] + counts[3][0];
}

// The width that makes the block smallest, when what is wider becomes an exception.
void choose_width(const Packed& residuals, size_t n, Plan& plan) {
  uint64_t any = 0;
  for (size_t i = 0; i < n; ++i) any |= residuals[i];
  const unsigned widest = static_cast<unsigned>(std::bit_width(any));
  Widths of_width{};
  if (widest <= 52) {
    count_narrow(residuals, n, widest, of_width);
  } else {
    for (size_t i = 0; i < n; ++i) ++of_width[static_cast<size_t>(std::bit_width(residuals[i]))];
  }
  plan.width = widest;
  plan.cost = packed_bytes(n, widest);
  size_t above = 0;
  for (unsigned width = widest; width-- > 0;) {
    above += of_width[width + 1];
    if (above > n / 3) break;
    size_t cost = packed_bytes(n, width) + 1;
    for (unsigned w = width + 1; w <= widest; ++w) cost += of_width[w] * exception_bytes(w - width);
    if (cost >= plan.cost) continue;
    plan.cost = cost;
    plan.width = width;
    plan.exceptions = above;
  }
}

void try_centre(const Block& residuals, size_t n, int64_t centre, Packed& packed, Plan& plan) {
  plan.centre = centre;
  for (size_t i = 0; i < n; ++i) packed[i] = centred(residuals[i], centre);
  choose_width(packed, n, plan);
}

void plan_differences(Workspace& work, size_t n, Plan& best) {
  const Block& residuals = work.residuals;
  const Range range = range_of(residuals, n);
  try_centre(residuals, n, range.middle(), work.packed, best);
  // Outliers pull the middle of the range away from where most are.
  const int64_t middle = middle_of_some(residuals.data(), n);
  if (distance(middle, range.middle()) <= range.width() / 8) return;
  Plan other{best.predictor};
  try_centre(residuals, n, middle, work.other, other);
  if (other.cost >= best.cost) return;
  best = other;
  std::copy_n(work.other.begin(), n, work.packed.begin());
}

void plan_bits(Workspace& work, size_t n, Plan& best) {
  const Block& residuals = work.residuals;
  uint64_t any = 0;
  for (size_t i = 0; i < n; ++i) any |= u(residuals[i]);
  best.shift = any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
  for (size_t i = 0; i < n; ++i) work.packed[i] = u(residuals[i]) >> best.shift;
  choose_width(work.packed, n, best);
}

// Bits that some of the residuals need, which is enough to tell the predictors apart: counted by the widest of each four.
size_t bits_of_some(std::span<const int64_t> values, Predictor predictor) {
  constexpr size_t kStride = 4, kGroup = 4;
  std::array<int64_t, kPackedBlock / kStride> some;
  size_t n = 0;
  for (size_t i = 2; i < values.size(); i += kStride) {
    const uint64_t v = u(values[i]), last = u(values[i - 1]), last_but_one = u(values[i - 2]);
    some[n++] = s(predictor == Predictor::level   ? v
                  : predictor == Predictor::slope ? v - last
                  : predictor == Predictor::curve ? v - 2 * last + last_but_one
                                                  : v ^ last);
  }
  const int64_t centre = predictor == Predictor::bits ? 0 : middle_of_some(some.data(), n);
  size_t bits = 0;
  uint64_t any = 0;
  for (size_t from = 0; from < n; from += kGroup) {
    uint64_t group = 0;
    for (size_t i = from; i < std::min(n, from + kGroup); ++i) {
      group |= predictor == Predictor::bits ? u(some[i]) : centred(some[i], centre);
    }
    bits += static_cast<size_t>(std::bit_width(group));
    any |= group;
  }
  if (predictor != Predictor::bits || any == 0) return bits;
  return bits - std::min(bits, (n + kGroup - 1) / kGroup * static_cast<size_t>(std::countr_zero(any)));
}

Predictor choose_predictor(std::span<const int64_t> values, unsigned allowed) {
  if (values.size() < 3) return Predictor::slope;
  Predictor best = Predictor::level;
  size_t fewest = SIZE_MAX;
  for (unsigned p = 0; p < kPredictors; ++p) {
    if ((allowed >> p & 1) == 0) continue;
    const size_t bits = bits_of_some(values, static_cast<Predictor>(p));
    if (bits >= fewest) continue;
    fewest = bits;
    best = static_cast<Predictor>(p);
  }
  return best;
}

void put_block(std::span<const int64_t> values, unsigned allowed, const Before& before, Workspace& work, Writer& out) {
  const size_t n = values.size();
  Plan plan;
  plan.predictor = choose_predictor(values, allowed);
  predict(values, plan.predictor, before, work.residuals);
  if (plan.predictor == Predictor::bits) plan_bits(work, n, plan);
  else plan_differences(work, n, plan);
  const Packed& packed = work.packed;
  out.u8(static_cast<uint8_t>(plan.width | (plan.exceptions > 0 ? kHasExceptions : 0)));
  out.u8(static_cast<uint8_t>(static_cast<unsigned>(plan.predictor) | plan.shift << 2));
  // Levels stay near the last value, slopes near the last step.
  const uint64_t expected = plan.predictor == Predictor::level   ? u(before.value)
                            : plan.predictor == Predictor::slope ? before.step
                                                                 : 0;
  if (plan.predictor != Predictor::bits) out.varint(zigzag(s(u(plan.centre) - expected)));
  if (plan.exceptions > 0) {
    std::array<uint8_t, kPackedBlock> positions;
    size_t exceptions = 0;
    for (size_t i = 0; i < n; ++i) {
      positions[exceptions] = static_cast<uint8_t>(i);
      exceptions += packed[i] >> plan.width != 0;
    }
    out.u8(static_cast<uint8_t>(exceptions));
    out.raw(positions.data(), exceptions);
    for (size_t i = 0; i < exceptions; ++i) out.varint(packed[positions[i]] >> plan.width);
  }
  pack(packed.data(), n, plan.width, out);
}

bool take_block(Reader& in, const Before& before, std::span<int64_t> values) {
  const size_t n = values.size();
  const uint8_t head = in.u8(), how = in.u8();
  const unsigned width = head & 0x7f, shift = how >> 2;
  const auto predictor = static_cast<Predictor>(how & 3);
  if (!in.ok() || width > 64 || (shift > 0 && predictor != Predictor::bits)) return false;
  const uint64_t expected = predictor == Predictor::level   ? u(before.value)
                            : predictor == Predictor::slope ? before.step
                                                            : 0;
  const uint64_t centre = predictor == Predictor::bits ? 0 : u(unzigzag(in.varint())) + expected;
  std::string_view positions;
  std::array<uint64_t, kPackedBlock> above;
  if (head & kHasExceptions) {
    const size_t exceptions = in.u8();
    if (width == 64 || exceptions > n) return false;
    positions = in.raw(exceptions);
    if (!in.ok()) return false;
    for (size_t i = 0; i < exceptions; ++i) above[i] = in.varint();
  }
  const std::string_view bytes = in.raw(packed_bytes(n, width));
  if (!in.ok()) return false;
  Packed packed;
  unpack(bytes, n, width, packed.data());
  for (size_t i = 0; i < positions.size(); ++i) {
    const size_t at = static_cast<uint8_t>(positions[i]);
    if (at >= n) return false;
    packed[at] |= above[i] << width;
  }
  if (predictor == Predictor::bits) {
    for (size_t i = 0; i < n; ++i) values[i] = s(packed[i] << shift);
  } else {
    for (size_t i = 0; i < n; ++i) values[i] = s(u(unzigzag(packed[i])) + centre);
  }
  restore(values, predictor, before);
  return true;
}

// The largest unit that all values have in common, counted from the first; 1 when a few already have none.
uint64_t common_unit(std::span<const int64_t> values) {
  uint64_t unit = 0;
  const size_t stride = std::max<size_t>(1, values.size() / 64);
  for (size_t i = 0; i < values.size() && unit != 1; i += stride) unit = std::gcd(unit, distance(values[i], values[0]));
  if (unit <= 1 || unit > kUnitMax) return 1;
  for (int64_t value : values) {
    const uint64_t away = distance(value, values[0]);
    if (away % unit == 0) continue;
    unit = std::gcd(unit, away);
    if (unit == 1) break;
  }
  return unit;
}

bool is_line(std::span<const int64_t> values) {
  const uint64_t step = values.size() > 1 ? u(values[1]) - u(values[0]) : 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (u(values[i]) - u(values[i - 1]) != step) return false;
  }
  return true;
}

void put_line(std::span<const int64_t> values, Writer& out) {
  out.varint(zigzag(values.empty() ? 0 : values[0]));
  out.varint(zigzag(values.size() > 1 ? s(u(values[1]) - u(values[0])) : 0));
}

bool take_line(Reader& in, std::span<int64_t> out) {
  uint64_t value = u(unzigzag(in.varint()));
  const uint64_t step = u(unzigzag(in.varint()));
  if (!in.ok()) return false;
  for (int64_t& v : out) {
    v = s(value);
    value += step;
  }
  return true;
}

// Takes the smaller of what is written and `other`.
void keep_smaller(Writer& best, Writer& other) {
  if (other.bytes().size() < best.bytes().size()) std::swap(best, other);
}

bool take_runs(Reader& in, std::span<int64_t> out, int depth) {
  std::optional<Runs> runs = take_run_lengths(in, out.size(), depth);
  if (!runs || !decode_integers(in, runs->values, depth)) return false;
  expand_runs(*runs, out);
  return true;
}

bool take_dictionary(Reader& in, std::span<int64_t> out, int depth) {
  const uint64_t count = in.varint();
  if (!in.ok() || count > out.size()) return false;
  std::vector<int64_t> values(count);
  return decode_integers(in, values, depth) && decode_integers(in, out, depth) && look_up(values, out);
}

}  // namespace

void encode_packed(std::span<const int64_t> values, unsigned allowed, Writer& out) {
  const uint64_t unit = allowed == kForPatterns ? 1 : common_unit(values);
  std::vector<int64_t> scaled;
  const int64_t first = values.empty() ? 0 : values[0];
  if (unit > 1) {
    scaled.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) scaled[i] = s(u(values[i]) - u(first)) / s(unit);
    values = scaled;
  }
  out.varint(unit);
  out.varint(zigzag(first));
  const uint64_t step = values.size() > 1 ? u(values[1]) - u(values[0]) : 0;
  out.varint(zigzag(s(step)));
  Before before{values.empty() ? 0 : s(u(values[0]) - step), step};
  Workspace work;
  for (size_t at = 0; at < values.size(); at += kPackedBlock) {
    const auto block = values.subspan(at, std::min(kPackedBlock, values.size() - at));
    put_block(block, allowed, before, work, out);
    before = after(block, before);
  }
}

bool decode_packed(Reader& in, std::span<int64_t> out) {
  const uint64_t unit = in.varint();
  const uint64_t first = u(unzigzag(in.varint()));
  const uint64_t step = u(unzigzag(in.varint()));
  if (!in.ok() || unit == 0 || unit > kUnitMax) return false;
  Before before{s((unit > 1 ? 0 : first) - step), step};
  for (size_t at = 0; at < out.size(); at += kPackedBlock) {
    const auto block = out.subspan(at, std::min(kPackedBlock, out.size() - at));
    if (!take_block(in, before, block)) return false;
    before = after(block, before);
  }
  if (unit > 1) {
    for (int64_t& v : out) v = s(first + u(v) * unit);
  }
  return true;
}

bool take_zeros(Reader& in) {
  Reader ahead = in;
  if (ahead.u8() != static_cast<uint8_t>(IntegerKind::line) || ahead.varint() != 0 || ahead.varint() != 0 || !ahead.ok()) return false;
  in = ahead;
  return true;
}

size_t count_runs(std::span<const int64_t> values) {
  size_t runs = values.empty() ? 0 : 1;
  for (size_t i = 1; i < values.size(); ++i) runs += values[i] != values[i - 1];
  return runs;
}

Runs make_runs(std::span<const int64_t> values) {
  Runs runs;
  for (size_t from = 0, to; from < values.size(); from = to) {
    for (to = from + 1; to < values.size() && values[to] == values[from];) ++to;
    runs.lengths.push_back(s(to - from));
    runs.values.push_back(values[from]);
  }
  return runs;
}

void expand_runs(const Runs& runs, std::span<int64_t> out) {
  auto to = out.begin();
  for (size_t i = 0; i < runs.values.size(); ++i) to = std::fill_n(to, runs.lengths[i], runs.values[i]);
}

std::optional<Runs> take_run_lengths(Reader& in, size_t rows, int depth) {
  const uint64_t count = in.varint();
  if (!in.ok() || count > rows) return std::nullopt;
  Runs runs;
  runs.lengths.resize(count);
  runs.values.resize(count);
  if (!decode_integers(in, runs.lengths, depth)) return std::nullopt;
  uint64_t left = rows;
  for (int64_t length : runs.lengths) {
    if (length < 1 || u(length) > left) return std::nullopt;
    left -= u(length);
  }
  if (left != 0) return std::nullopt;
  return runs;
}

std::optional<Dictionary> make_dictionary(std::span<const int64_t> values, size_t bytes) {
  const size_t n = values.size();
  if (n < 64) return std::nullopt;
  std::array<int64_t, 64> some;
  for (size_t i = 0; i < some.size(); ++i) some[i] = values[i * n / some.size()];
  std::sort(some.begin(), some.end());
  const size_t seen = static_cast<size_t>(std::unique(some.begin(), some.end()) - some.begin());
  auto index_bytes = [&](size_t distinct) { return n * static_cast<size_t>(std::bit_width(distinct - 1)) / 8; };
  if (index_bytes(seen) + seen >= bytes * 7 / 8) return std::nullopt;

  // A distinct value takes about as much as one does now, or a little less as they are sorted: so many may there be at most.
  auto dictionary_bytes = [&](size_t distinct) { return index_bytes(distinct) + distinct * bytes / n * 2 / 3; };
  size_t distinct_max = n * 2 / 3;
  while (distinct_max > 1 && dictionary_bytes(distinct_max) >= bytes) distinct_max -= distinct_max / 8 + 1;
  if (seen > distinct_max) return std::nullopt;

  // Open addressing; a place holds 1 + the number of a distinct value.
  std::vector<uint32_t> places(std::bit_ceil(2 * distinct_max + 2), 0);
  Dictionary dictionary;
  dictionary.indexes.reserve(n);
  const int shift = 64 - std::countr_zero(places.size());
  for (int64_t value : values) {
    size_t at = u(value) * 0x9e3779b97f4a7c15 >> shift;
    while (places[at] != 0 && dictionary.values[places[at] - 1] != value) at = (at + 1) & (places.size() - 1);
    if (places[at] == 0) {
      if (dictionary.values.size() >= distinct_max) return std::nullopt;
      dictionary.values.push_back(value);
      places[at] = static_cast<uint32_t>(dictionary.values.size());
    }
    dictionary.indexes.push_back(places[at] - 1);
  }
  const size_t distinct = dictionary.values.size();
  std::vector<uint32_t> order(distinct), rank(distinct);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return dictionary.values[a] < dictionary.values[b]; });
  for (uint32_t r = 0; r < distinct; ++r) rank[order[r]] = r;
  for (int64_t& index : dictionary.indexes) index = rank[static_cast<size_t>(index)];
  std::sort(dictionary.values.begin(), dictionary.values.end());
  return dictionary;
}

bool look_up(std::span<const int64_t> values, std::span<int64_t> indexes) {
  for (int64_t& index : indexes) {
    if (u(index) >= values.size()) return false;
    index = values[u(index)];
  }
  return true;
}

void encode_integers(std::span<const int64_t> values, Writer& out, int depth) {
  if (is_line(values)) {
    out.u8(static_cast<uint8_t>(IntegerKind::line));
    return put_line(values, out);
  }
  Writer best;
  best.reserve(values.size() * 2 + 64);
  best.u8(static_cast<uint8_t>(IntegerKind::packed));
  encode_packed(values, kForIntegers, best);
  if (depth < kDepthMax && count_runs(values) <= values.size() / 4) {
    const Runs runs = make_runs(values);
    Writer other;
    other.u8(static_cast<uint8_t>(IntegerKind::runs));
    other.varint(runs.values.size());
    encode_integers(runs.lengths, other, depth + 1);
    encode_integers(runs.values, other, depth + 1);
    keep_smaller(best, other);
  }
  if (depth < kDepthMax) {
    if (auto dictionary = make_dictionary(values, best.bytes().size())) {
      Writer other;
      other.u8(static_cast<uint8_t>(IntegerKind::dictionary));
      other.varint(dictionary->values.size());
      encode_integers(dictionary->values, other, kDepthMax);
      encode_integers(dictionary->indexes, other, kDepthMax);
      keep_smaller(best, other);
    }
  }
  out.raw(best.bytes().data(), best.bytes().size());
}

bool decode_integers(Reader& in, std::span<int64_t> out, int depth) {
  switch (static_cast<IntegerKind>(in.u8())) {
    case IntegerKind::line: return take_line(in, out);
    case IntegerKind::packed: return decode_packed(in, out);
    case IntegerKind::runs: return depth < kDepthMax && take_runs(in, out, depth + 1);
    case IntegerKind::dictionary: return depth < kDepthMax && take_dictionary(in, out, depth + 1);
  }
  return false;
}

}  // namespace skerry::storage::internal
