#include "storage/internal/blocks.h"

#include <algorithm>
#include <numeric>

#include "storage/internal/store_format.h"

namespace skerry::storage::internal {
namespace {

// Where each value of the sorted batch comes from: groups of rows with the same time, each in the order of arrival.
struct Order {
  std::vector<uint32_t> rows;    // all rows, by time
  std::vector<uint32_t> groups;  // start of each group in `rows`, and the end
};

Order order_of(const std::vector<int64_t>& times) {
  Order order;
  order.rows.resize(times.size());
  std::iota(order.rows.begin(), order.rows.end(), 0);
  std::stable_sort(order.rows.begin(), order.rows.end(), [&](uint32_t a, uint32_t b) { return times[a] < times[b]; });
  for (uint32_t i = 0; i < order.rows.size(); ++i) {
    if (i == 0 || times[order.rows[i]] != times[order.rows[i - 1]]) order.groups.push_back(i);
  }
  order.groups.push_back(static_cast<uint32_t>(order.rows.size()));
  return order;
}

// The last write of a timestamp wins, field by field: what it leaves out is kept from the one before.
Column sorted_column(const Column& column, const Order& order) {
  const size_t rows = order.groups.size() - 1;
  Column out;
  out.name = column.name;
  if (!column.present.empty()) out.present.assign(rows, 0);
  std::visit(
      [&](const auto& from) {
        std::decay_t<decltype(from)> to(rows);
        for (size_t g = 0; g < rows; ++g) {
          for (uint32_t i = order.groups[g + 1]; i-- > order.groups[g];) {
            if (!column.has(order.rows[i])) continue;
            to[g] = from[order.rows[i]];
            if (!out.present.empty()) out.present[g] = 1;
            break;
          }
        }
        out.values = std::move(to);
      },
      column.values);
  return out;
}

Batch sorted(const Batch& batch) {
  const Order order = order_of(batch.times);
  Batch out;
  out.series = batch.series;
  for (size_t g = 0; g + 1 < order.groups.size(); ++g) out.times.push_back(batch.times[order.rows[order.groups[g]]]);
  for (const Column& column : batch.columns) out.columns.push_back(sorted_column(column, order));
  return out;
}

// Bytes of a record without its strings, and of its strings.
size_t fixed_bytes(const Batch& batch) {
  size_t sum = sizeof(int64_t);
  for (const Column& c : batch.columns) sum += c.type() == FieldType::string ? sizeof(std::string) : 8;
  return sum;
}
size_t string_bytes(const Batch& batch, size_t row) {
  size_t sum = 0;
  for (const Column& c : batch.columns) {
    const auto* strings = std::get_if<3>(&c.values);
    if (strings && c.has(row)) sum += (*strings)[row].size();
  }
  return sum;
}

size_t block_end(const Batch& batch, size_t from, size_t record_bytes) {
  const int64_t week = span_start(batch.times[from], kWeekNs);
  size_t bytes = 0, to = from;
  for (; to < batch.rows() && to - from < kBlockRowsMax && span_start(batch.times[to], kWeekNs) == week; ++to) {
    bytes += record_bytes + string_bytes(batch, to);
    if (bytes > kBlockBytesMax && to > from) break;
  }
  return to;
}

}  // namespace

std::vector<Block> make_blocks(const Batch& given) {
  const bool rising =
      std::adjacent_find(given.times.begin(), given.times.end(), std::greater_equal<>()) == given.times.end();
  Batch own;
  if (!rising) own = sorted(given);
  const Batch& batch = rising ? given : own;
  const size_t record_bytes = fixed_bytes(batch);
  std::vector<Block> blocks;
  for (size_t from = 0; from < batch.rows();) {
    const size_t to = block_end(batch, from, record_bytes);
    blocks.push_back(
        {batch.times[from], batch.times[to - 1], static_cast<uint32_t>(to - from), encode_rows(batch, from, to)});
    from = to;
  }
  return blocks;
}

}  // namespace skerry::storage::internal
