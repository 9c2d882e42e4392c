// Formats, each after the byte of its kind:
//   line        first and step as zigzag varints
//   packed      unit varint (values are first + unit * n) | first | step | blocks of 128
//     block     head u8: width, predictor << 5, 0x80 when there are exceptions | [width u8, when the head says 31]
//               centre varint, or of `bits` the shift u8
//               [exceptions u8 | their positions u8 each | what is above the width, a varint each] | the packed residuals
//   runs        count varint | lengths, an integer stream | values, an integer stream
//   dictionary  count varint | values, an integer stream | indexes, an integer stream
#include "storage/internal/integer_stream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <tuple>
#include <type_traits>

#include "storage/internal/bit_packing.h"
#include "storage/internal/float_scale.h"

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
constexpr unsigned kPredictorAt = 5, kWidthElsewhere = 31;
constexpr uint64_t kUnitMax = uint64_t{1} << 62;

// Words of 32 bits where the range of a stream allows: a vector of any machine holds twice as many, and has instructions for them.
// Of less than 2^26 apart, so that a curve's residual less a centre, zigzag, still is less than 2^31.
constexpr uint64_t kNarrowRange = uint64_t{1} << 26;
template <typename Word>
using Unsigned = std::make_unsigned_t<Word>;
template <typename Word>
constexpr bool kNarrow = sizeof(Word) == 4;

template <typename Word>
Word less(Word a, Word b) {
  return static_cast<Word>(static_cast<Unsigned<Word>>(a) - static_cast<Unsigned<Word>>(b));
}

template <typename Word>
Unsigned<Word> centred(Word value, Word centre) {
  const Word away = less(value, centre);
  return (static_cast<Unsigned<Word>>(away) << 1) ^ static_cast<Unsigned<Word>>(away >> (8 * sizeof(Word) - 1));
}

template <typename Word>
using Residuals = std::array<Word, kPackedBlock>;
template <typename Word>
using Packed = std::array<Unsigned<Word>, kPackedBlock>;
using Widths = std::array<uint8_t, kPackedBlock>;

// Values less what the predictor says. The two before `values` are there too. What is missing in a short block repeats the first, so that
// all loops are of one length.
template <typename Word>
void predict(const Word* values, size_t n, Predictor predictor, Residuals<Word>& out) {
  auto all = [&](auto residual) {
    if (n == kPackedBlock) {
      for (size_t i = 0; i < kPackedBlock; ++i) out[i] = residual(values + i);
      return;
    }
    for (size_t i = 0; i < n; ++i) out[i] = residual(values + i);
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), out[0]);
  };
  switch (predictor) {
    case Predictor::level: return all([](const Word* v) { return v[0]; });
    case Predictor::slope: return all([](const Word* v) { return less(v[0], v[-1]); });
    case Predictor::curve: return all([](const Word* v) { return less(less(v[0], v[-1]), less(v[-1], v[-2])); });
    case Predictor::bits: return all([](const Word* v) { return static_cast<Word>(v[0] ^ v[-1]); });
  }
}

template <typename Word>
Word middle_of(Word a, Word b, Word c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

// The middle of a few residuals spread over the block: outliers do not move it (Tukey's ninther, 1978).
template <typename Word>
Word middle_of_some(const Residuals<Word>& r, size_t n) {
  std::array<Word, 3> middles;
  for (size_t i = 0; i < 3; ++i) middles[i] = middle_of(r[(6 * i + 1) * n / 18], r[(6 * i + 3) * n / 18], r[(6 * i + 5) * n / 18]);
  return middle_of(middles[0], middles[1], middles[2]);
}

template <typename Word>
struct Range {
  Word low = 0, high = 0;
  Unsigned<Word> width() const { return static_cast<Unsigned<Word>>(less(high, low)); }
  // Rounded up: zigzag has a number more below zero than above it.
  Word middle() const { return static_cast<Word>(static_cast<Unsigned<Word>>(low) + width() / 2 + width() % 2); }
};

template <typename Word>
Range<Word> range_of(std::span<const Word> values) {
  Range<Word> range{values[0], values[0]};
  for (Word value : values) {
    range.low = std::min(range.low, value);
    range.high = std::max(range.high, value);
  }
  return range;
}

// Bits of a number below 2^31. As a float it carries its width in the exponent, which takes no instruction that only some machines have;
// without the bit below the highest, rounding to a float never reaches the next power of two.
inline uint32_t narrow_width(uint32_t v) {
  constexpr int32_t kExponentOfHalf = 126;
  const int32_t exponent = std::bit_cast<int32_t>(static_cast<float>(static_cast<int32_t>(v & ~(v >> 1)))) >> 23;
  return static_cast<uint32_t>(std::max(exponent, kExponentOfHalf) - kExponentOfHalf);
}
template <typename Word>
uint32_t width_of(Unsigned<Word> v) {
  if constexpr (kNarrow<Word>) return narrow_width(v);
  else return static_cast<uint32_t>(std::bit_width(v));
}

// A block as it would be written.
struct Plan {
  unsigned shift = 0;  // of `bits`: low bits that are zero in the whole block
  unsigned width = 0;
  size_t exceptions = 0;
  size_t cost = SIZE_MAX;  // bytes, about
};

size_t count_above(const Widths& widths, unsigned width) {
  const uint8_t limit = static_cast<uint8_t>(width);
  uint8_t count = 0;  // of at most 128: bytes make the widest vectors
  for (uint8_t w : widths) count = static_cast<uint8_t>(count + (w > limit ? 1 : 0));
  return count;
}

// The width that makes the block smallest, when what is wider becomes an exception: its position and 7 bits a byte.
template <typename Word>
Plan choose_width(const Packed<Word>& residuals, size_t n) {
  Widths widths;
  for (size_t i = 0; i < kPackedBlock; ++i) widths[i] = static_cast<uint8_t>(width_of<Word>(residuals[i]));
  std::fill(widths.begin() + static_cast<std::ptrdiff_t>(n), widths.end(), uint8_t{0});
  uint8_t widest = 0;
  for (uint8_t w : widths) widest = w > widest ? w : widest;
  Plan plan{0, widest, 0, packed_bytes(n, widest)};
  std::array<uint8_t, 65> above{};  // numbers of more bits than this
  for (unsigned width = widest; width-- > 0;) {
    above[width] = static_cast<uint8_t>(count_above(widths, width));
    if (above[width] > n / 3) break;
    size_t cost = packed_bytes(n, width) + 1 + above[width];
    for (unsigned w = width; w < widest; w += 7) cost += above[w];
    if (cost >= plan.cost) continue;
    plan.cost = cost;
    plan.width = width;
    plan.exceptions = above[width];
  }
  return plan;
}

// Room for the block at work, made once per stream.
template <typename Word>
struct Workspace {
  std::array<Residuals<Word>, 2> residuals;  // of the best predictor so far and of the one that is tried
  std::array<Packed<Word>, 2> packed;        // of the best centre so far and of the one that is tried
  size_t best = 0;
};

template <typename Word>
Plan plan_centre(const Residuals<Word>& residuals, size_t n, Word centre, Packed<Word>& packed) {
  for (size_t i = 0; i < kPackedBlock; ++i) packed[i] = centred(residuals[i], centre);
  return choose_width<Word>(packed, n);
}

// Returns the plan and the centre; what is to be packed is in packed[0].
template <typename Word>
std::pair<Plan, Word> plan_differences(Workspace<Word>& work, size_t n) {
  const Residuals<Word>& residuals = work.residuals[work.best];
  const Range<Word> range = range_of(std::span<const Word>(residuals));
  const Word centre = range.middle();
  Plan best = plan_centre(residuals, n, centre, work.packed[0]);
  // Outliers pull the middle of the range away from where most are.
  const Word middle = middle_of_some(residuals, n);
  const Word away = less(middle, centre);
  if (static_cast<Unsigned<Word>>(away < 0 ? less(Word{0}, away) : away) <= range.width() / 8) return {best, centre};
  const Plan other = plan_centre(residuals, n, middle, work.packed[1]);
  if (other.cost >= best.cost) return {best, centre};
  std::swap(work.packed[0], work.packed[1]);
  return {other, middle};
}

template <typename Word>
Plan plan_bits(Workspace<Word>& work, size_t n) {
  const Residuals<Word>& residuals = work.residuals[work.best];
  Unsigned<Word> any = 0;
  for (Word r : residuals) any |= static_cast<Unsigned<Word>>(r);
  const unsigned shift = any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
  for (size_t i = 0; i < kPackedBlock; ++i) work.packed[0][i] = static_cast<Unsigned<Word>>(residuals[i]) >> shift;
  Plan plan = choose_width<Word>(work.packed[0], n);
  plan.shift = shift;
  return plan;
}

// Bits that the residuals need, which tells the predictors apart: counted by the widest of each four.
template <typename Word>
size_t bits_of(const Residuals<Word>& residuals, size_t n, Predictor predictor) {
  constexpr size_t kGroups = kPackedBlock / 4;
  const Word centre = predictor == Predictor::bits ? 0 : middle_of_some(residuals, n);
  const Word *a = residuals.data(), *b = a + kGroups, *c = b + kGroups, *d = c + kGroups;
  uint32_t bits = 0;
  Unsigned<Word> any = 0;
  auto count = [&](Unsigned<Word> group) {
    any |= group;
    bits += width_of<Word>(group);
  };
  if (predictor != Predictor::bits) {
    auto at = [=](const Word* r, size_t g) { return centred(r[g], centre); };
    for (size_t g = 0; g < kGroups; ++g) count(at(a, g) | at(b, g) | at(c, g) | at(d, g));
    return bits;
  }
  for (size_t g = 0; g < kGroups; ++g) count(static_cast<Unsigned<Word>>(a[g] | b[g] | c[g] | d[g]));
  return any == 0 ? 0 : bits - std::min<size_t>(bits, kGroups * static_cast<size_t>(std::countr_zero(any)));
}

// Leaves the residuals in residuals[best].
template <typename Word>
Predictor choose_predictor(const Word* values, size_t n, unsigned allowed, Workspace<Word>& work) {
  Predictor best = Predictor::level;
  size_t fewest = SIZE_MAX;
  for (unsigned p = 0; p < kPredictors; ++p) {
    if ((allowed >> p & 1) == 0) continue;
    const auto predictor = static_cast<Predictor>(p);
    Residuals<Word>& tried = work.residuals[1 - work.best];
    predict(values, n, predictor, tried);
    const size_t bits = bits_of(tried, n, predictor);
    if (bits >= fewest) continue;
    fewest = bits;
    best = predictor;
    work.best = 1 - work.best;
  }
  return best;
}

template <typename Word>
void put_exceptions(const Packed<Word>& packed, size_t n, unsigned width, Writer& out) {
  const Unsigned<Word> widest = static_cast<Unsigned<Word>>((Unsigned<Word>{1} << width) - 1);
  std::array<uint8_t, kPackedBlock + 1> positions;
  size_t exceptions = 0;
  for (size_t i = 0; i < n; ++i) {
    positions[exceptions] = static_cast<uint8_t>(i);
    exceptions += packed[i] > widest ? 1 : 0;
  }
  out.u8(static_cast<uint8_t>(exceptions));
  out.raw(positions.data(), exceptions);
  for (size_t i = 0; i < exceptions; ++i) out.varint(packed[positions[i]] >> width);
}

// The two before `values` are there too.
template <typename Word>
void put_block(const Word* values, size_t n, unsigned allowed, Workspace<Word>& work, Writer& out) {
  const Predictor predictor = choose_predictor(values, n, allowed, work);
  Plan plan;
  Word centre = 0;
  if (predictor == Predictor::bits) plan = plan_bits(work, n);
  else std::tie(plan, centre) = plan_differences(work, n);
  const unsigned head = std::min(plan.width, kWidthElsewhere) | static_cast<unsigned>(predictor) << kPredictorAt;
  out.u8(static_cast<uint8_t>(head | (plan.exceptions > 0 ? kHasExceptions : 0)));
  if (plan.width >= kWidthElsewhere) out.u8(static_cast<uint8_t>(plan.width));
  // Levels stay near the last value, slopes near the last step.
  const Word expected = predictor == Predictor::level   ? values[-1]
                        : predictor == Predictor::slope ? less(values[-1], values[-2])
                                                        : 0;
  if (predictor == Predictor::bits) out.u8(static_cast<uint8_t>(plan.shift));
  else out.varint(zigzag(less(centre, expected)));
  const Packed<Word>& packed = work.packed[0];
  if (plan.exceptions > 0) put_exceptions<Word>(packed, n, plan.width, out);
  pack(packed.data(), n, plan.width, out);
}

// What a block knows of the values before it.
struct Before {
  int64_t value = 0;
  uint64_t step = 0;
};

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

bool take_block(Reader& in, const Before& before, std::span<int64_t> values) {
  const size_t n = values.size();
  const uint8_t head = in.u8();
  const auto predictor = static_cast<Predictor>(head >> kPredictorAt & 3);
  const unsigned narrow = head & kWidthElsewhere, width = narrow == kWidthElsewhere ? in.u8() : narrow;
  const unsigned shift = predictor == Predictor::bits ? in.u8() : 0;
  if (!in.ok() || width > 64 || shift > 63) return false;
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
  std::array<uint64_t, kPackedBlock> packed;
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

// Whether all are a whole number of units, of which there are less than kNarrowRange, away from the first.
bool have_unit(std::span<const int64_t> values, uint64_t unit) {
  const uint64_t first = u(values[0]);
  const double size = static_cast<double>(unit), inverse = 1 / size;
  uint64_t wrong = 0;
  for (int64_t value : values) {
    const int64_t away = s(u(value) - first);
    const double whole = from_count(to_count(from_count(away) * inverse));
    wrong |= u(away) ^ u(to_count(whole * size));
  }
  return wrong == 0;
}

// The largest unit that all values, which are `range` apart, have in common, counted from the first; 1 when a few already have none.
uint64_t common_unit(std::span<const int64_t> values, uint64_t range) {
  uint64_t unit = 0;
  const size_t stride = std::max<size_t>(1, values.size() / 64);
  for (size_t i = 0; i < values.size() && unit != 1; i += stride) unit = std::gcd(unit, distance(values[i], values[0]));
  if (unit <= 1 || unit > kUnitMax) return 1;
  if (range < static_cast<uint64_t>(kCountMax) && range / unit < kNarrowRange && have_unit(values, unit)) return unit;
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

template <typename Word>
void to_units(std::span<const int64_t> values, uint64_t unit, Word* out) {
  const uint64_t first = u(values[0]);
  auto away = [&](size_t i) { return s(u(values[i]) - first); };
  if (unit == 1) {
    for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<Word>(away(i));
  } else if (kNarrow<Word>) {
    const double inverse = 1 / static_cast<double>(unit);  // of less than 2^26 units: near enough to round
    for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<Word>(to_count(from_count(away(i)) * inverse));
  } else {
    for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<Word>(away(i) / s(unit));
  }
}

template <typename Word>
void put_words(std::span<const int64_t> values, uint64_t unit, unsigned allowed, Writer& out) {
  constexpr size_t kHistory = 2;
  std::vector<Word> words(values.size() + kHistory);
  to_units(values, unit, words.data() + kHistory);
  const Word step = values.size() > 1 ? words[kHistory + 1] : 0;
  words[1] = less(Word{0}, step);  // as if the line through the first two had been there before
  words[0] = less(words[1], step);
  if (allowed == kForPatterns) {  // exclusive or is not a difference: as they are
    for (size_t i = 0; i < words.size(); ++i) words[i] = static_cast<Word>(u(words[i]) + u(values[0]));
  }
  out.varint(unit);
  out.varint(zigzag(values[0]));
  out.varint(zigzag(step));
  Workspace<Word> work;
  for (size_t at = 0; at < values.size(); at += kPackedBlock) {
    put_block(words.data() + kHistory + at, std::min(kPackedBlock, values.size() - at), allowed, work, out);
  }
}

void put_packed(std::span<const int64_t> values, unsigned allowed, Writer& out) {
  if (values.empty()) return;
  const Range<int64_t> range = range_of(values);
  const uint64_t unit = allowed == kForPatterns ? 1 : common_unit(values, range.width());
  const bool narrow = allowed != kForPatterns && range.width() / unit < kNarrowRange && range.width() < static_cast<uint64_t>(kCountMax);
  if (narrow) put_words<int32_t>(values, unit, allowed, out);
  else put_words<int64_t>(values, unit, allowed, out);
}

#ifdef __x86_64__
// The same with vectors of 32 bytes, which not every x86-64 has; 64 bit minima, too. Integers only: the bytes are the same.
[[gnu::flatten, gnu::target("avx2")]] void put_packed_wide(std::span<const int64_t> values, unsigned allowed, Writer& out) {
  put_packed(values, allowed, out);
}
#endif

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
#ifdef __x86_64__
  static const bool wide_vectors = __builtin_cpu_supports("avx2");
  if (wide_vectors) return put_packed_wide(values, allowed, out);
#endif
  put_packed(values, allowed, out);
}

bool decode_packed(Reader& in, std::span<int64_t> out) {
  if (out.empty()) return true;
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

void keep_smaller(Writer& out, size_t at, Writer& other) {
  if (other.bytes().size() < out.bytes().size() - at) out.bytes().replace(at, std::string::npos, other.bytes());
}

size_t count_runs(std::span<const int64_t> values) {
  size_t runs = values.empty() ? 0 : 1;
  for (size_t i = 1; i < values.size(); ++i) runs += values[i] != values[i - 1];
  return runs;
}

Runs make_runs(std::span<const int64_t> values) {
  Runs runs;
  const size_t count = count_runs(values);
  if (count == 0) return runs;
  runs.lengths.resize(count + 1);
  runs.values.resize(count + 1);  // one more, so that what belongs to no run yet can be written without asking
  size_t run = 0;
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    runs.values[run] = values[i];
    ++runs.lengths[run];
    run += values[i] != values[i + 1] ? 1 : 0;
  }
  runs.values[run] = values.back();
  ++runs.lengths[run];
  runs.lengths.resize(count);
  runs.values.resize(count);
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

namespace {

constexpr size_t kDictionarySample = 256;
constexpr double kSurprise = 16;  // more than two standard deviations of what a sample has of distinct values

// About how many distinct values there are among kDictionarySample of them: how many places of a bitmap their hashes hit, and how many
// have hit the same (linear counting: Whang, Vander-Zanden & Taylor, 1990).
size_t distinct_of_some(std::span<const int64_t> values) {
  constexpr unsigned kPlacesLog = 12;
  constexpr double kPlaces = 1 << kPlacesLog;
  std::array<uint64_t, (1 << kPlacesLog) / 64> hit{};
  const size_t n = std::min(values.size(), kDictionarySample), stride = values.size() / n;
  for (size_t i = 0; i < n; ++i) {
    const uint64_t place = u(values[i * stride]) * 0x9e3779b97f4a7c15 >> (64 - kPlacesLog);
    hit[place / 64] |= uint64_t{1} << place % 64;
  }
  int places = 0;
  for (uint64_t word : hit) places += std::popcount(word);
  return static_cast<size_t>(std::nearbyint(-kPlaces * std::log1p(-places / kPlaces)));
}

// Of kDictionarySample draws from `distinct` values, when each is as likely: no other distribution lets a sample have more of them.
double distinct_expected(size_t distinct) {
  const double d = static_cast<double>(distinct);
  return d * -std::expm1(static_cast<double>(kDictionarySample) * std::log1p(-1 / std::max(d, 1.5)));
}

constexpr uint64_t kTableMax = 8;  // places a value, up to which a table of the whole range is the fastest

// Nullopt when there are more than `distinct_max`.
std::optional<Dictionary> number_by_table(std::span<const int64_t> values, const Range<int64_t>& range, size_t distinct_max) {
  std::vector<uint32_t> numbers(range.width() + 1, 0);
  for (int64_t value : values) numbers[u(value) - u(range.low)] = 1;
  Dictionary dictionary;
  for (size_t at = 0; at < numbers.size(); ++at) {
    if (numbers[at] == 0) continue;
    if (dictionary.values.size() >= distinct_max) return std::nullopt;
    numbers[at] = static_cast<uint32_t>(dictionary.values.size());
    dictionary.values.push_back(s(u(range.low) + at));
  }
  dictionary.indexes.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) dictionary.indexes[i] = numbers[u(values[i]) - u(range.low)];
  return dictionary;
}

std::optional<Dictionary> number_by_hash(std::span<const int64_t> values, size_t distinct_max) {
  // Open addressing; a place holds 1 + the number of a distinct value.
  std::vector<uint32_t> places(std::bit_ceil(2 * distinct_max + 2), 0);
  Dictionary dictionary;
  dictionary.indexes.reserve(values.size());
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

}  // namespace

std::optional<Dictionary> make_dictionary(std::span<const int64_t> values, size_t bytes) {
  const size_t n = values.size();
  if (n < 64) return std::nullopt;
  auto index_bytes = [&](size_t distinct) { return n * static_cast<size_t>(std::bit_width(distinct - 1)) / 8; };
  // A distinct value takes about as much as one does now, or a little less as they are sorted: so many may there be at most.
  auto dictionary_bytes = [&](size_t distinct) { return index_bytes(distinct) + distinct * bytes / n * 2 / 3; };
  size_t distinct_max = n * 2 / 3;
  while (distinct_max > 1 && dictionary_bytes(distinct_max) >= bytes) distinct_max -= distinct_max / 8 + 1;
  const size_t seen = distinct_of_some(values);
  if (index_bytes(seen) + seen >= bytes * 7 / 8 || seen > distinct_max) return std::nullopt;
  if (static_cast<double>(seen) > distinct_expected(distinct_max) + kSurprise) return std::nullopt;

  const Range<int64_t> range = range_of(values);
  if (range.width() < kTableMax * n) return number_by_table(values, range, distinct_max);
  return number_by_hash(values, distinct_max);
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
  const size_t at = out.bytes().size();
  out.u8(static_cast<uint8_t>(IntegerKind::packed));
  encode_packed(values, kForIntegers, out);
  if (depth >= kDepthMax) return;
  if (count_runs(values) <= values.size() * 3 / 4) {
    const Runs runs = make_runs(values);
    Writer other;
    other.u8(static_cast<uint8_t>(IntegerKind::runs));
    other.varint(runs.values.size());
    encode_integers(runs.lengths, other, depth + 1);
    encode_integers(runs.values, other, depth + 1);
    keep_smaller(out, at, other);
  }
  if (auto dictionary = make_dictionary(values, out.bytes().size() - at)) {
    Writer other;
    other.u8(static_cast<uint8_t>(IntegerKind::dictionary));
    other.varint(dictionary->values.size());
    encode_integers(dictionary->values, other, kDepthMax);
    encode_integers(dictionary->indexes, other, kDepthMax);
    keep_smaller(out, at, other);
  }
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
