#include "sync/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "base/file.h"
#include "sync/wire.pb.h"

namespace skerry::sync {
namespace {

namespace pb = google::protobuf;

constexpr std::string_view kMagic = "SKRY";
constexpr size_t kCrcAt = 4, kVersionAt = 8, kFlagsAt = 9, kSizeAt = 10, kHeaderBytes = 14;
constexpr uint8_t kFlagZstd = 1;
constexpr size_t kCompressFrom = 128;   // smaller messages gain nothing
constexpr int kZstdLevel = 3;
constexpr int kZstdWindowLogMax = 25;   // 32 MiB: no message needs a larger window
constexpr size_t kTextBytesMax = 1024;  // of a model line, a software name, a message

void put_u32(char* at, uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(value >> (8 * i));
}

uint32_t get_u32(const char* at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<uint8_t>(at[i])) << (8 * i);
  return value;
}

// --- envelope

constexpr size_t kKeptContextBytes = 64 << 10;  // larger messages are rare, and a context for them is megabytes

// A context is dearer to make than a small message is to compress.
size_t compress(std::string& out, size_t at, const std::string& plain, int level) {
  if (plain.size() > kKeptContextBytes) return ZSTD_compress(out.data() + at, out.size() - at, plain.data(), plain.size(), level);
  thread_local const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  SKERRY_CHECK(context != nullptr, "no memory for a zstd context");
  return ZSTD_compressCCtx(context.get(), out.data() + at, out.size() - at, plain.data(), plain.size(), level);
}

std::string wrap(const wire::Message& message, int level = kZstdLevel) {
  const std::string plain = message.SerializeAsString();
  std::string out(kHeaderBytes, '\0');
  uint8_t flags = 0;
  if (plain.size() >= kCompressFrom) {
    out.resize(kHeaderBytes + ZSTD_compressBound(plain.size()));
    const size_t n = compress(out, kHeaderBytes, plain, level);
    if (!ZSTD_isError(n) && n < plain.size()) {
      out.resize(kHeaderBytes + n);
      flags = kFlagZstd;
    } else {
      out.resize(kHeaderBytes);
    }
  }
  if (flags == 0) out += plain;
  kMagic.copy(out.data(), kMagic.size());
  out[kVersionAt] = static_cast<char>(kProtocolVersion);
  out[kFlagsAt] = static_cast<char>(flags);
  put_u32(out.data() + kSizeAt, static_cast<uint32_t>(plain.size()));
  put_u32(out.data() + kCrcAt, crc32c(std::string_view(out).substr(kVersionAt)));
  return out;
}

// Grows with what really comes out, so a small message that claims 32 MiB costs nothing.
Result<std::string> decompress(std::string_view bytes, size_t size) {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  SKERRY_CHECK(context != nullptr, "no memory for a zstd context");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax);
  std::string out;
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (;;) {
    const size_t had = out.size();
    out.resize(std::min(size + 1, std::max<size_t>(had * 2, 64 << 10)));
    ZSTD_outBuffer piece{out.data() + had, out.size() - had, 0};
    const size_t hint = ZSTD_decompressStream(context.get(), &piece, &in);
    out.resize(had + piece.pos);
    if (ZSTD_isError(hint)) return fail(Code::corrupt, "a damaged message: {}", ZSTD_getErrorName(hint));
    if (out.size() > size) return fail(Code::corrupt, "a damaged message: it unpacks to more than the {} bytes it claims", size);
    if (hint == 0) break;
    if (piece.pos == 0 && in.pos == in.size) return fail(Code::corrupt, "a damaged message: it ends in the middle");
  }
  if (in.pos != in.size || out.size() != size) {
    return fail(Code::corrupt, "a damaged message: {} bytes where {} were announced", out.size(), size);
  }
  return out;
}

// Protocol Buffers turns two bytes into an object of a hundred: count fields before parsing, so that memory stays bounded.
Status check_field_count(const std::string& plain) {
  pb::io::CodedInputStream outer(reinterpret_cast<const uint8_t*>(plain.data()), static_cast<int>(plain.size()));
  size_t fields = 0;
  while (uint32_t tag = outer.ReadTag()) {
    if (++fields > 1 || pb::internal::WireFormatLite::GetTagWireType(tag) != pb::internal::WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      return fail(Code::corrupt, "a damaged message: it does not hold exactly one body");
    }
    uint32_t length = 0;
    if (!outer.ReadVarint32(&length) || length > plain.size()) return fail(Code::corrupt, "a damaged message: a length beyond its end");
    auto limit = outer.PushLimit(static_cast<int>(length));
    for (size_t inner = 0; uint32_t inner_tag = outer.ReadTag(); ++inner) {
      if (inner > kBatchEntriesMax + 16) {
        return fail(Code::invalid, "a message with more than {} entries: send them in smaller batches", kBatchEntriesMax);
      }
      if (!pb::internal::WireFormatLite::SkipField(&outer, inner_tag)) return fail(Code::corrupt, "a damaged message: a field cannot be read");
    }
    if (!outer.ConsumedEntireMessage() && outer.BytesUntilLimit() != 0) {
      return fail(Code::corrupt, "a damaged message: a field cannot be read");
    }
    outer.PopLimit(limit);
  }
  return {};
}

Result<wire::Message> unwrap(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic) {
    return fail(Code::corrupt, "not a sync message: {} bytes that do not start with SKRY. Is this really a Skerry hub?", bytes.size());
  }
  if (bytes.size() > kEnvelopeBytesMax) {
    return fail(Code::invalid, "a message of {} bytes: at most {} are accepted, send smaller batches", bytes.size(), kEnvelopeBytesMax);
  }
  const auto version = static_cast<uint8_t>(bytes[kVersionAt]);
  if (version != kProtocolVersion) {
    return fail(Code::invalid, "sync protocol version {}: this side speaks version {}, update the older one", uint32_t{version}, kProtocolVersion);
  }
  if (crc32c(bytes.substr(kVersionAt)) != get_u32(bytes.data() + kCrcAt)) {
    return fail(Code::corrupt, "a damaged message: its checksum does not hold");
  }
  const auto flags = static_cast<uint8_t>(bytes[kFlagsAt]);
  if ((flags & ~kFlagZstd) != 0) return fail(Code::invalid, "a message with unknown flags {:#x}: update this side", uint32_t{flags});
  const uint32_t size = get_u32(bytes.data() + kSizeAt);
  if (size > kMessageBytesMax) {
    return fail(Code::invalid, "a message of {} bytes: at most {} are accepted, send smaller batches", size, kMessageBytesMax);
  }
  std::string plain;
  if (flags & kFlagZstd) {
    SKERRY_ASSIGN(plain, decompress(bytes.substr(kHeaderBytes), size));
  } else {
    plain = bytes.substr(kHeaderBytes);
    if (plain.size() != size) return fail(Code::corrupt, "a damaged message: {} bytes where {} were announced", plain.size(), size);
  }
  SKERRY_TRY(check_field_count(plain));
  wire::Message message;
  if (!message.ParseFromString(plain)) return fail(Code::corrupt, "a damaged message: Protocol Buffers cannot read it");
  return message;
}

Error wrong_body(const char* expected) { return fail(Code::corrupt, "a message of another kind where {} was expected", expected); }

// --- fields

Result<storage::OutboxClass> check_class(uint32_t value) {
  for (storage::OutboxClass c : storage::kOutboxClasses) {
    if (static_cast<uint32_t>(c) == value) return c;
  }
  return fail(Code::invalid, "unknown outbox class {}: update this side", value);
}

Status check_node(std::string_view name) {
  if (valid_node_name(name)) return {};
  return fail(Code::invalid, "a node name that is not accepted: 1 to 64 letters, digits, '.', '_' or '-', not starting with a dot");
}

Status check_epoch(uint64_t epoch) {
  if (epoch != 0) return {};
  return fail(Code::invalid, "epoch 0: a node has no epoch before its store is made");
}

Status check_seq(uint64_t seq) {
  if (seq <= kSeqMax) return {};
  return fail(Code::invalid, "sequence number {} is not possible", seq);
}

Status check_text(const char* what, const std::string& text) {
  if (text.size() <= kTextBytesMax) return {};
  return fail(Code::invalid, "a {} of {} bytes: at most {} are accepted", what, text.size(), kTextBytesMax);
}

std::string cut(const std::string& text) { return text.substr(0, kTextBytesMax); }

Result<Loss> check_range(const wire::Loss& range) {
  SKERRY_ASSIGN(const auto outbox_class, check_class(range.outbox_class()));
  SKERRY_TRY(check_seq(range.last_seq()));
  if (range.first_seq() == 0 || range.first_seq() > range.last_seq()) {
    return fail(Code::invalid, "a loss from {} to {} is not a range", range.first_seq(), range.last_seq());
  }
  return Loss{outbox_class, range.first_seq(), range.last_seq()};
}

void put_range(const Loss& range, wire::Loss& out) {
  out.set_outbox_class(static_cast<uint32_t>(range.outbox_class));
  out.set_first_seq(range.first_seq);
  out.set_last_seq(range.last_seq);
}

// A digest is 32 bytes on the wire and 64 digits everywhere else.
std::string from_hex(std::string_view digits) {
  auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) bytes += static_cast<char>(value(digits[i]) << 4 | value(digits[i + 1]));
  return bytes;
}

std::string to_hex(std::string_view bytes) {
  std::string digits;
  for (const char c : bytes) digits += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return digits;
}

void put_offer(const Offer& offer, wire::Offer& out) {
  out.set_model(offer.model);
  out.set_version(offer.version);
  out.set_digest(from_hex(offer.digest));
}

Result<Offer> check_offer(const wire::Offer& offer) {
  if (!valid_model_name(offer.model())) return fail(Code::invalid, "a model name that is not accepted: 1 to 64 of a to z, digits, '_' or '-'");
  if (offer.digest().size() != 32) return fail(Code::invalid, "the digest of {} has {} bytes: 32 are needed", offer.model(), offer.digest().size());
  return Offer{offer.model(), offer.version(), to_hex(offer.digest())};
}

Status check_lost(const wire::Entry& entry, storage::OutboxItem& item) {
  SKERRY_TRY(check_seq(entry.last_seq()));
  if (entry.last_seq() < item.seq) return fail(Code::invalid, "a loss from {} to {} is not a range", item.seq, entry.last_seq());
  if (entry.lost_reason() < 1 || entry.lost_reason() > static_cast<uint32_t>(storage::LossReason::rolled_up)) {
    return fail(Code::invalid, "entry {} is lost for an unknown reason {}: update this side", item.seq, entry.lost_reason());
  }
  if (!item.payload.empty()) return fail(Code::invalid, "entry {} is lost and yet has a payload", item.seq);
  item.last_seq = entry.last_seq();
  item.reason = static_cast<storage::LossReason>(entry.lost_reason());
  return {};
}

Result<storage::OutboxItem> check_entry(wire::Entry& entry) {
  storage::OutboxItem item;
  item.seq = entry.seq();
  SKERRY_TRY(check_seq(item.seq));
  switch (static_cast<storage::EntryKind>(entry.kind())) {
    case storage::EntryKind::samples:
    case storage::EntryKind::prediction:
    case storage::EntryKind::label:
    case storage::EntryKind::model_delta:
    case storage::EntryKind::model_event:
    case storage::EntryKind::lost: break;
    default: return fail(Code::invalid, "entry {} is of unknown kind {}: update this side", item.seq, entry.kind());
  }
  item.kind = static_cast<storage::EntryKind>(entry.kind());
  if (entry.subject().size() > kSubjectBytesMax) {
    return fail(Code::invalid, "entry {} has a subject of {} bytes: at most {} are accepted", item.seq, entry.subject().size(), kSubjectBytesMax);
  }
  item.subject = std::move(*entry.mutable_subject());
  item.payload = std::move(*entry.mutable_payload());
  item.records = entry.records();
  item.queued_ns = entry.queued_ns();
  if (item.kind == storage::EntryKind::lost) SKERRY_TRY(check_lost(entry, item));
  return item;
}

}  // namespace

// --- chains

// The mixing function of splitmix64 (Steele, Lea & Flood 2014).
static uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

bool valid_node_name(std::string_view name) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

bool valid_file_name(std::string_view name) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

bool valid_model_name(std::string_view name) {
  auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

bool has_waiting(const Hello& hello) {
  return std::any_of(hello.positions.begin(), hello.positions.end(), [](const ClassPosition& p) { return p.last_seq >= p.first_seq; });
}

const char* to_string(BatchOutcome outcome) {
  switch (outcome) {
    case BatchOutcome::applied: return "applied";
    case BatchOutcome::duplicate: return "duplicate";
    case BatchOutcome::gap: return "gap";
    case BatchOutcome::unknown_epoch: return "unknown epoch";
    case BatchOutcome::refused: return "refused";
  }
  return "unknown";
}

uint64_t digest_after(uint64_t digest, const storage::OutboxItem& item) {
  return mixed(mixed(digest + 0x9e3779b97f4a7c15) ^ mixed(item.seq) ^ mixed(item.end_seq() + 1) ^ static_cast<uint64_t>(item.queued_ns)) | 1;
}

uint64_t chain_after(uint64_t chain, const storage::OutboxItem& item) {
  if (item.kind == storage::EntryKind::lost) return mixed(item.last_seq + 0x9e3779b97f4a7c15) | 1;
  return mixed(mixed(chain + 0x9e3779b97f4a7c15) ^ mixed(item.seq) ^ static_cast<uint64_t>(item.queued_ns)) | 1;
}

std::string encode(const Hello& message) {
  wire::Message out;
  wire::Hello& hello = *out.mutable_hello();
  hello.set_node(message.node);
  hello.set_epoch(message.epoch);
  for (const ClassPosition& p : message.positions) {
    auto& position = *hello.add_positions();
    position.set_outbox_class(static_cast<uint32_t>(p.outbox_class));
    position.set_first_seq(p.first_seq);
    position.set_last_seq(p.last_seq);
    position.set_kept_seq(p.kept_seq);
  }
  hello.set_backlog_bytes(message.backlog_bytes);
  for (size_t i = 0; i < std::min(message.models.size(), kModelsMax); ++i) hello.add_models(cut(message.models[i]));
  hello.set_software(cut(message.software));
  return wrap(out);
}

std::string encode(const HelloReply& message) {
  wire::Message out;
  wire::HelloReply& reply = *out.mutable_hello_reply();
  reply.set_hub(message.hub);
  for (const Watermark& w : message.watermarks) {
    auto& watermark = *reply.add_watermarks();
    watermark.set_outbox_class(static_cast<uint32_t>(w.outbox_class));
    watermark.set_seq(w.seq);
    watermark.set_chain(w.chain.value);
    watermark.set_chain_seq(w.chain.seq);
  }
  for (const Loss& l : message.losses) put_range(l, *reply.add_losses());
  for (const Loss& w : message.wanted) put_range(w, *reply.add_wanted());
  for (const Offer& o : message.offers) put_offer(o, *reply.add_offers());
  reply.set_new_epoch(message.new_epoch);
  reply.set_takes_losses(message.takes_losses);
  reply.set_ended(message.ended);
  return wrap(out);
}

std::string encode(const Batch& message) {
  wire::Message out;
  wire::Batch& batch = *out.mutable_batch();
  batch.set_node(message.node);
  batch.set_epoch(message.epoch);
  batch.set_outbox_class(static_cast<uint32_t>(message.outbox_class));
  for (const storage::OutboxItem& item : message.entries) {
    auto& entry = *batch.add_entries();
    entry.set_seq(item.seq);
    entry.set_kind(static_cast<uint32_t>(item.kind));
    entry.set_subject(item.subject);
    entry.set_payload(item.payload);
    entry.set_records(item.records);
    entry.set_queued_ns(item.queued_ns);
    if (item.kind == storage::EntryKind::lost) {
      entry.set_last_seq(item.last_seq);
      entry.set_lost_reason(static_cast<uint32_t>(item.reason));
    }
  }
  return wrap(out, message.compression);
}

std::string encode(const BatchReply& message) {
  wire::Message out;
  wire::BatchReply& reply = *out.mutable_batch_reply();
  reply.set_outcome(static_cast<uint32_t>(message.outcome));
  reply.set_watermark(message.watermark);
  reply.set_chain(message.chain.value);
  reply.set_chain_seq(message.chain.seq);
  reply.set_message(cut(message.message));
  return wrap(out);
}

std::string encode(const RangeAsk& message) {
  wire::Message out;
  wire::RangeAsk& ask = *out.mutable_range_ask();
  ask.set_node(message.node);
  ask.set_epoch(message.epoch);
  ask.set_outbox_class(static_cast<uint32_t>(message.outbox_class));
  ask.set_first_seq(message.first_seq);
  ask.set_last_seq(message.last_seq);
  ask.set_ends_epoch(message.ends_epoch);
  ask.set_digest(message.digest);
  ask.set_all_epochs(message.all_epochs);
  return wrap(out);
}

std::string encode(const RangeReply& message) {
  wire::Message out;
  out.mutable_range_reply()->set_count(message.count);
  out.mutable_range_reply()->set_digest(message.digest);
  return wrap(out);
}

Result<RangeAsk> decode_range_ask(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_range_ask()) return wrong_body("a question about a range");
  const wire::RangeAsk& body = in.range_ask();
  RangeAsk ask;
  SKERRY_TRY(check_node(body.node()));
  SKERRY_TRY(check_epoch(body.epoch()));
  SKERRY_ASSIGN(ask.outbox_class, check_class(body.outbox_class()));
  SKERRY_TRY(check_seq(body.last_seq()));
  if (body.first_seq() == 0 || body.first_seq() > body.last_seq() || body.last_seq() - body.first_seq() >= kRangeMax) {
    return fail(Code::invalid, "a range from {} to {}: ask for 1 to {} numbers", body.first_seq(), body.last_seq(), kRangeMax);
  }
  ask.node = body.node();
  ask.epoch = body.epoch();
  ask.first_seq = body.first_seq();
  ask.last_seq = body.last_seq();
  ask.ends_epoch = body.ends_epoch();
  ask.digest = body.digest();
  ask.all_epochs = body.all_epochs();
  return ask;
}

std::string encode(const ChunkAsk& message) {
  wire::Message out;
  wire::ChunkAsk& ask = *out.mutable_chunk_ask();
  ask.set_node(message.node);
  put_offer(message.package, *ask.mutable_package());
  ask.set_file(message.file);
  ask.set_offset(message.offset);
  ask.set_bytes_max(message.bytes_max);
  return wrap(out);
}

std::string encode(const ChunkReply& message) {
  wire::Message out;
  out.mutable_chunk_reply()->set_file_bytes(message.file_bytes);
  out.mutable_chunk_reply()->set_data(message.data);
  return wrap(out);
}

Result<ChunkAsk> decode_chunk_ask(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_chunk_ask()) return wrong_body("a question for a piece of a file");
  const wire::ChunkAsk& body = in.chunk_ask();
  ChunkAsk ask;
  SKERRY_TRY(check_node(body.node()));
  SKERRY_ASSIGN(ask.package, check_offer(body.package()));
  if (!valid_file_name(body.file())) return fail(Code::invalid, "a file name that is not accepted: 1 to 128 letters, digits, '.', '_' or '-'");
  if (body.bytes_max() == 0 || body.bytes_max() > kChunkBytesMax || body.offset() > kFileBytesMax) {
    return fail(Code::invalid, "{} bytes from {} on: ask for 1 to {}", body.bytes_max(), body.offset(), kChunkBytesMax);
  }
  ask.node = body.node();
  ask.file = body.file();
  ask.offset = body.offset();
  ask.bytes_max = body.bytes_max();
  return ask;
}

Result<ChunkReply> decode_chunk_reply(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_chunk_reply()) return wrong_body("a piece of a file");
  wire::ChunkReply& body = *in.mutable_chunk_reply();
  if (body.file_bytes() > kFileBytesMax) return fail(Code::invalid, "a file of {} bytes: at most {} are accepted", body.file_bytes(), kFileBytesMax);
  if (body.data().size() > kChunkBytesMax) return fail(Code::invalid, "a piece of {} bytes: at most {} are accepted", body.data().size(), kChunkBytesMax);
  return ChunkReply{body.file_bytes(), std::move(*body.mutable_data())};
}

Result<RangeReply> decode_range_reply(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_range_reply()) return wrong_body("the answer about a range");
  if (in.range_reply().count() > kRangeMax) return fail(Code::invalid, "{} entries in a range of at most {}", in.range_reply().count(), kRangeMax);
  return RangeReply{in.range_reply().count(), in.range_reply().digest()};
}

Result<Hello> decode_hello(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_hello()) return wrong_body("HELLO");
  wire::Hello& body = *in.mutable_hello();
  Hello hello;
  SKERRY_TRY(check_node(body.node()));
  SKERRY_TRY(check_epoch(body.epoch()));
  hello.node = body.node();
  hello.epoch = body.epoch();
  std::set<storage::OutboxClass> seen;
  for (const auto& p : body.positions()) {
    SKERRY_ASSIGN(auto outbox_class, check_class(p.outbox_class()));
    if (!seen.insert(outbox_class).second) return fail(Code::invalid, "class {} is named twice", storage::to_string(outbox_class));
    SKERRY_TRY(check_seq(p.last_seq()));
    if (p.first_seq() == 0 || p.first_seq() > p.last_seq() + 1) {
      return fail(Code::invalid, "class {} from {} to {} is not a range", storage::to_string(outbox_class), p.first_seq(), p.last_seq());
    }
    if (p.kept_seq() > p.first_seq()) {
      return fail(Code::invalid, "class {} is kept from {} and waits from {}", storage::to_string(outbox_class), p.kept_seq(), p.first_seq());
    }
    hello.positions.push_back({outbox_class, p.first_seq(), p.last_seq(), p.kept_seq()});
  }
  hello.backlog_bytes = body.backlog_bytes();
  if (static_cast<size_t>(body.models_size()) > kModelsMax) {
    return fail(Code::invalid, "{} models: at most {} are accepted", body.models_size(), kModelsMax);
  }
  for (const std::string& model : body.models()) {
    SKERRY_TRY(check_text("model line", model));
    hello.models.push_back(model);
  }
  SKERRY_TRY(check_text("software name", body.software()));
  hello.software = body.software();
  return hello;
}

Result<HelloReply> decode_hello_reply(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_hello_reply()) return wrong_body("the answer to a HELLO");
  const wire::HelloReply& body = in.hello_reply();
  HelloReply reply;
  SKERRY_TRY(check_node(body.hub()));
  reply.hub = body.hub();
  std::set<storage::OutboxClass> seen;
  for (const auto& w : body.watermarks()) {
    SKERRY_ASSIGN(auto outbox_class, check_class(w.outbox_class()));
    if (!seen.insert(outbox_class).second) return fail(Code::invalid, "class {} is named twice", storage::to_string(outbox_class));
    SKERRY_TRY(check_seq(w.seq()));
    reply.watermarks.push_back({outbox_class, w.seq(), Chain{w.chain_seq(), w.chain()}});
  }
  for (const auto& l : body.losses()) {
    SKERRY_ASSIGN(const Loss loss, check_range(l));
    if (reply.losses.size() == std::size(storage::kOutboxClasses)) return fail(Code::invalid, "more losses than classes");
    reply.losses.push_back(loss);
  }
  if (static_cast<size_t>(body.wanted_size()) > kWantedMax || static_cast<size_t>(body.offers_size()) > kOffersMax) {
    return fail(Code::invalid, "a hub that wants {} ranges and offers {} packages: at most {} and {} are accepted", body.wanted_size(), body.offers_size(),
                kWantedMax, kOffersMax);
  }
  for (const auto& w : body.wanted()) {
    SKERRY_ASSIGN(const Loss wanted, check_range(w));
    if (wanted.last_seq - wanted.first_seq >= kRangeMax) return fail(Code::invalid, "{} to {} are wanted: at most {} at a time", wanted.first_seq, wanted.last_seq, kRangeMax);
    reply.wanted.push_back(wanted);
  }
  for (const auto& o : body.offers()) {
    SKERRY_ASSIGN(Offer offer, check_offer(o));
    reply.offers.push_back(std::move(offer));
  }
  reply.new_epoch = body.new_epoch();
  reply.takes_losses = body.takes_losses();
  reply.ended = body.ended();
  return reply;
}

Result<Batch> decode_batch(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_batch()) return wrong_body("a batch");
  wire::Batch& body = *in.mutable_batch();
  Batch batch;
  SKERRY_TRY(check_node(body.node()));
  SKERRY_TRY(check_epoch(body.epoch()));
  batch.node = body.node();
  batch.epoch = body.epoch();
  SKERRY_ASSIGN(batch.outbox_class, check_class(body.outbox_class()));
  if (body.entries().empty()) return fail(Code::invalid, "a batch without entries");
  if (static_cast<size_t>(body.entries_size()) > kBatchEntriesMax) {
    return fail(Code::invalid, "a batch of {} entries: at most {} are accepted", body.entries_size(), kBatchEntriesMax);
  }
  batch.entries.reserve(static_cast<size_t>(body.entries_size()));
  for (auto& entry : *body.mutable_entries()) {
    SKERRY_ASSIGN(auto item, check_entry(entry));
    const uint64_t expected = batch.entries.empty() ? std::max<uint64_t>(item.seq, 1) : batch.entries.back().end_seq() + 1;
    if (item.seq != expected) return fail(Code::invalid, "entry {} where {} was expected: entries are consecutive", item.seq, expected);
    batch.entries.push_back(std::move(item));
  }
  return batch;
}

Result<BatchReply> decode_batch_reply(std::string_view bytes) {
  SKERRY_ASSIGN(wire::Message in, unwrap(bytes));
  if (!in.has_batch_reply()) return wrong_body("the answer to a batch");
  const wire::BatchReply& body = in.batch_reply();
  if (body.outcome() < 1 || body.outcome() > 5) return fail(Code::invalid, "unknown outcome {}: update this side", body.outcome());
  SKERRY_TRY(check_seq(body.watermark()));
  SKERRY_TRY(check_text("message", body.message()));
  return BatchReply{.outcome = static_cast<BatchOutcome>(body.outcome()), .watermark = body.watermark(), .message = body.message(), .chain = {body.chain_seq(), body.chain()}};
}

}  // namespace skerry::sync
