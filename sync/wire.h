// What node and hub say to each other, and its bytes: Protocol Buffers (wire.proto) in an envelope with magic, version, zstd and CRC-32C.
//
//   "SKRY"  u32 crc32c of all that follows  u8 version  u8 flags (1: zstd)  u32 size of the payload when decompressed  payload
//
// Numbers are little-endian. The checksum stands before what it covers, so that no bit of the message is outside it.
// On failure: decode answers corrupt (damaged, or not what it claims) or invalid (a version or size that is not accepted, a field out
// of its range), bounded in memory by a small multiple of kMessageBytesMax whatever the input claims.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/types.h"

namespace skerry::sync {

inline constexpr uint64_t kMessageBytesMax = 32 << 20;  // decompressed
inline constexpr uint64_t kEnvelopeBytesMax = kMessageBytesMax + (kMessageBytesMax >> 7) + 1024;  // as sent: incompressible, with its header
inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kBatchEntriesMax = 65536;
inline constexpr size_t kSubjectBytesMax = 65536;
inline constexpr size_t kModelsMax = 256;               // in a HELLO
inline constexpr uint64_t kSeqMax = uint64_t{1} << 62;

// A node's name towards the hub: [A-Za-z0-9._-]{1,64}, not starting with a dot.
bool valid_node_name(std::string_view name);

struct ClassPosition {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t first_seq = 1;   // oldest that the node still has waiting, or last_seq + 1
  uint64_t last_seq = 0;
  uint64_t kept_seq = 0;    // oldest that it can still send, acknowledged or not; 0: first_seq
  uint64_t oldest() const { return kept_seq == 0 ? first_seq : kept_seq; }
};

struct Hello;
bool has_waiting(const Hello& hello);     // something will follow when it is answered

struct Hello {
  std::string node;
  uint64_t epoch = 0;
  std::vector<ClassPosition> positions;
  uint64_t backlog_bytes = 0;
  std::vector<std::string> models;  // "har/3 serving"
  std::string software;
};

// A number chained over the history of a class up to an entry, see chain_after(). It names the entry: a word about another one proves nothing.
struct Chain {
  uint64_t seq = 0, value = 0;  // value 0: not known
};

struct Watermark {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t seq = 0;         // the hub holds 1..seq of this epoch, but for its losses
  Chain chain;              // of its entries of this epoch
};

// Entries that the hub once acknowledged and no longer has, and that the node can't send again: declared, never silent.
struct Loss {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t first_seq = 1, last_seq = 0;
};

// A model package that the hub has for its nodes. The digest names this very package.
struct Offer {
  std::string model;
  uint32_t version = 0;
  std::string digest;                 // SHA-256 of its manifest, 64 hexadecimal digits
  bool operator==(const Offer&) const = default;
};
inline constexpr size_t kOffersMax = 64;                // in a HELLO's answer
inline constexpr size_t kWantedMax = 64;

struct HelloReply {
  std::string hub;
  std::vector<Watermark> watermarks;  // one per class of this (node, epoch)
  std::vector<Loss> losses;           // that this HELLO brought to light
  bool new_epoch = false;             // the hub had never heard of this epoch: it holds nothing below the node's first_seq
  bool takes_losses = false;          // entries of kind `lost` may be sent
  bool ended = false;                 // the node itself ended this epoch, with a question: it must begin another
  std::vector<Loss> wanted;           // acknowledged, damaged there since, and asked for again
  std::vector<Offer> offers;
};

struct Batch {              // entries have consecutive seqs
  std::string node;
  uint64_t epoch = 0;
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  std::vector<storage::OutboxItem> entries;
  int compression = 3;      // level of zstd that the sender chooses; not on the wire
};

enum class BatchOutcome : uint8_t { applied = 1, duplicate = 2, gap = 3, unknown_epoch = 4, refused = 5 };
const char* to_string(BatchOutcome outcome);

struct BatchReply {
  BatchOutcome outcome = BatchOutcome::refused;
  uint64_t watermark = 0;   // of the class, after this batch
  std::string message;      // why refused
  Chain chain;              // at the watermark
};

// Asks the hub what it holds of a range, to find out where two histories part.
struct RangeAsk {
  std::string node;
  uint64_t epoch = 0;
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t first_seq = 1, last_seq = 1;   // at most kRangeMax numbers
  bool ends_epoch = false;                // from here on the hub takes no batch of it, and one that is still on its way does not change the answer
  uint64_t digest = 0;                    // not 0: of one entry, digest_after() from kFirstChain; is it here, in this epoch or any other?
  bool all_epochs = false;                // counts what is held in any; the digest of the answer says nothing then
};

struct RangeReply {
  uint64_t count = 0;       // entries, of kind `lost` too
  uint64_t digest = 0;      // digest_after() over them, from kFirstChain
};
inline constexpr uint64_t kRangeMax = 65536;
uint64_t digest_after(uint64_t digest, const storage::OutboxItem& item);

// Asks for a piece of a file of a package that the hub offered.
struct ChunkAsk {
  std::string node;
  Offer package;
  std::string file = "manifest";
  uint64_t offset = 0;
  uint32_t bytes_max = 64 << 10;          // at most kChunkBytesMax
};

struct ChunkReply {
  uint64_t file_bytes = 0;                // of the whole file
  std::string data;                       // from the offset on; less than asked for only at the end
};
inline constexpr uint32_t kChunkBytesMax = 256 << 10;
inline constexpr uint64_t kFileBytesMax = uint64_t{1} << 34;

// Of a file of a package, as a folder knows it: [A-Za-z0-9._-]{1,128}, not starting with a dot. Of a model: the same in [a-z0-9_-]{1,64}.
bool valid_file_name(std::string_view name);
bool valid_model_name(std::string_view name);

// The chain over a history of entries: of the next one, from the one before. Never 0. An entry of kind `lost` begins anew, since what it
// stands for is not known any more.
inline constexpr uint64_t kFirstChain = 1;
uint64_t chain_after(uint64_t chain, const storage::OutboxItem& item);

std::string encode(const Hello& message);
std::string encode(const HelloReply& message);
std::string encode(const Batch& message);
std::string encode(const BatchReply& message);
std::string encode(const RangeAsk& message);
std::string encode(const RangeReply& message);
std::string encode(const ChunkAsk& message);
std::string encode(const ChunkReply& message);
Result<RangeAsk> decode_range_ask(std::string_view bytes);
Result<RangeReply> decode_range_reply(std::string_view bytes);
Result<ChunkAsk> decode_chunk_ask(std::string_view bytes);
Result<ChunkReply> decode_chunk_reply(std::string_view bytes);
Result<Hello> decode_hello(std::string_view bytes);
Result<HelloReply> decode_hello_reply(std::string_view bytes);
Result<Batch> decode_batch(std::string_view bytes);
Result<BatchReply> decode_batch_reply(std::string_view bytes);

}  // namespace skerry::sync
