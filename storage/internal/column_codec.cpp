// Format: nothing when no value is there; else
//   [presence, an integer stream of 0 and 1, when not every row has a value] | the values that are there
//   float64: a float stream; int64 and boolean: an integer stream;
//   string: distinct texts varint | their lengths, an integer stream | the texts | which one each is, an integer stream
#include "storage/internal/column_codec.h"

#include <algorithm>
#include <span>
#include <unordered_map>

#include "storage/internal/float_stream.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage::internal {
namespace {

struct Rows {
  const Column& column;
  size_t from, to;
  bool whole;  // every row has a value
  size_t size() const { return to - from; }
};

// The values that are there, for `take`; gathered first only when there are gaps.
template <typename T, typename Take>
void with_dense(const Rows& rows, const std::vector<T>& values, Take take) {
  if (rows.whole) return take(std::span<const T>(values).subspan(rows.from, rows.size()));
  std::vector<T> dense;
  dense.reserve(rows.size());
  for (size_t i = rows.from; i < rows.to; ++i) {
    if (rows.column.has(i)) dense.push_back(values[i]);
  }
  take(std::span<const T>(dense));
}

void put_booleans(std::span<const uint8_t> booleans, Writer& out) {
  std::vector<int64_t> values(booleans.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = booleans[i] != 0 ? 1 : 0;
  encode_integers(values, out);
}

void put_strings(const Rows& rows, const std::vector<std::string>& values, Writer& out) {
  std::unordered_map<std::string_view, int64_t> numbers;
  std::vector<int64_t> lengths, indexes;
  Writer texts;
  for (size_t i = rows.from; i < rows.to; ++i) {
    if (!rows.column.has(i)) continue;
    const auto [at, is_new] = numbers.try_emplace(values[i], static_cast<int64_t>(numbers.size()));
    indexes.push_back(at->second);
    if (!is_new) continue;
    lengths.push_back(static_cast<int64_t>(values[i].size()));
    texts.raw(values[i].data(), values[i].size());
  }
  out.varint(lengths.size());
  encode_integers(lengths, out);
  out.raw(texts.bytes().data(), texts.bytes().size());
  encode_integers(indexes, out);
}

bool take_presence(Reader& in, size_t rows, size_t count, std::vector<uint8_t>& present) {
  std::vector<int64_t> presence(rows);
  if (!decode_integers(in, presence)) return false;
  present.resize(rows);
  uint64_t found = 0, any = 0;
  for (size_t i = 0; i < rows; ++i) {
    any |= static_cast<uint64_t>(presence[i]);
    present[i] = static_cast<uint8_t>(presence[i]);
    found += present[i];
  }
  return any <= 1 && found == count;
}

// Puts the values that are there into their rows.
template <typename To, typename From>
std::vector<To> spread(std::vector<From> values, const std::vector<uint8_t>& present) {
  if constexpr (std::is_same_v<To, From>) {
    if (present.empty()) return values;
  }
  std::vector<To> out(present.empty() ? values.size() : present.size());
  size_t next = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (present.empty() || present[i] != 0) out[i] = static_cast<To>(std::move(values[next++]));
  }
  return out;
}

bool take_strings(Reader& in, size_t count, Budget& budget, std::vector<std::string>& values) {
  const uint64_t distinct = in.varint();
  if (!in.ok() || distinct > count) return false;
  std::vector<int64_t> lengths(distinct), indexes(count);
  if (!decode_integers(in, lengths)) return false;
  std::vector<std::string_view> texts;
  texts.reserve(distinct);
  for (int64_t length : lengths) {
    if (length < 0) return false;
    texts.push_back(in.raw(static_cast<size_t>(length)));
    if (!in.ok()) return false;
  }
  if (!decode_integers(in, indexes)) return false;
  for (int64_t index : indexes) {
    if (static_cast<uint64_t>(index) >= distinct || !budget.take(texts[static_cast<size_t>(index)].size())) return false;
  }
  values.reserve(count);
  for (int64_t index : indexes) values.emplace_back(texts[static_cast<size_t>(index)]);
  return true;
}

bool take_values(Reader& in, FieldType type, size_t count, Budget& budget, Column& column) {
  switch (type) {
    case FieldType::float64: {
      std::vector<double> values(count);
      if (count > 0 && !decode_floats(in, values)) return false;
      column.values = spread<double>(std::move(values), column.present);
      return true;
    }
    case FieldType::int64: {
      std::vector<int64_t> values(count);
      if (count > 0 && !decode_integers(in, values)) return false;
      column.values = spread<int64_t>(std::move(values), column.present);
      return true;
    }
    case FieldType::boolean: {
      std::vector<int64_t> values(count);
      if (count > 0 && !decode_integers(in, values)) return false;
      if (std::any_of(values.begin(), values.end(), [](int64_t v) { return v != 0 && v != 1; })) return false;
      column.values = spread<uint8_t>(std::move(values), column.present);
      return true;
    }
    case FieldType::string: {
      std::vector<std::string> values;
      if (count > 0 && !take_strings(in, count, budget, values)) return false;
      column.values = spread<std::string>(std::move(values), column.present);
      return true;
    }
  }
  return false;
}

uint64_t row_bytes(FieldType type) {
  switch (type) {
    case FieldType::boolean: return 1;
    case FieldType::string: return sizeof(std::string);
    default: return 8;
  }
}

}  // namespace

size_t count_present(const Column& column, size_t from, size_t to) {
  if (column.present.empty()) return to - from;
  const uint8_t* present = column.present.data();
  return to - from - static_cast<size_t>(std::count(present + from, present + to, 0));
}

void encode_column(const Column& column, size_t from, size_t to, size_t count, Writer& out) {
  if (count == 0) return;
  const Rows rows{column, from, to, count == to - from};
  if (!rows.whole) {
    std::vector<int64_t> presence(rows.size());
    for (size_t i = 0; i < presence.size(); ++i) presence[i] = column.has(from + i) ? 1 : 0;
    encode_integers(presence, out);
  }
  if (const auto* doubles = std::get_if<0>(&column.values)) {
    with_dense(rows, *doubles, [&](std::span<const double> values) { encode_floats(values, out); });
  } else if (const auto* integers = std::get_if<1>(&column.values)) {
    with_dense(rows, *integers, [&](std::span<const int64_t> values) { encode_integers(values, out); });
  } else if (const auto* booleans = std::get_if<2>(&column.values)) {
    with_dense(rows, *booleans, [&](std::span<const uint8_t> values) { put_booleans(values, out); });
  } else {
    put_strings(rows, std::get<3>(column.values), out);
  }
}

bool decode_column(Reader& in, FieldType type, size_t rows, size_t count, Budget& budget, Column& column) {
  const bool sparse = count < rows;
  if (count > rows || !budget.take(rows * (row_bytes(type) + (sparse ? 1 : 0)))) return false;
  if (sparse && count == 0) column.present.assign(rows, 0);
  if (sparse && count > 0 && !take_presence(in, rows, count, column.present)) return false;
  return take_values(in, type, count, budget, column);
}

}  // namespace skerry::storage::internal
