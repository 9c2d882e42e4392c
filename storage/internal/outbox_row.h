// One queued entry of the outbox as stored: its payload, or a reference to what is stored already. Persistent.
#pragma once

#include <string>
#include <string_view>

#include "storage/internal/coding.h"
#include "storage/types.h"

namespace skerry::storage::internal {

enum class Refers : uint8_t {
  payload = 1,     // `data` is the payload itself
  block = 2,       // `data` is the key of a block in the head; once it is sealed, its records lie in chunks
  prediction = 3,  // `data` is the key of a prediction
};

struct OutboxRow {
  EntryKind kind = EntryKind::samples;
  Refers refers = Refers::payload;
  int64_t queued_ns = 0;
  uint64_t bytes_before =
      0;               // payload bytes of all earlier entries of the class: makes the backlog's size a subtraction
  uint64_t bytes = 0;  // payload
  uint32_t records = 1;
  uint64_t span_ns = 0;  // of a block: from its first record to its last
  std::string subject;
  std::string data;
};

inline std::string encode_row(const OutboxRow& row) {
  Writer out;
  out.u8(static_cast<uint8_t>(row.kind));
  out.u8(static_cast<uint8_t>(row.refers));
  out.signed64(row.queued_ns);
  out.varint(row.bytes_before);
  out.varint(row.bytes);
  out.varint(row.records);
  out.varint(row.span_ns);
  out.text(row.subject);
  out.text(row.data);
  return seal('O', 1, out.bytes());
}

inline Result<OutboxRow> decode_row(std::string_view bytes) {
  SKERRY_ASSIGN(std::string_view body, unseal('O', 1, bytes, "outbox entry"));
  Reader in(body);
  OutboxRow row;
  const uint8_t kind = in.u8(), refers = in.u8();
  row.kind = static_cast<EntryKind>(kind);
  row.refers = static_cast<Refers>(refers);
  row.queued_ns = in.signed64();
  row.bytes_before = in.varint();
  row.bytes = in.varint();
  row.records = static_cast<uint32_t>(in.varint());
  row.span_ns = in.varint();
  row.subject = in.text();
  row.data = in.text();
  if (!in.done() || kind < 1 || kind > 5 || refers < 1 || refers > 3) {
    return fail(Code::corrupt, "an outbox entry has bytes that do not add up");
  }
  return row;
}

}  // namespace skerry::storage::internal
