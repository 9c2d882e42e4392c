#include "inference/plan/plan.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include "base/file.h"

namespace skerry::inference::plan {
namespace {

static_assert(std::endian::native == std::endian::little, "plan.bin is little-endian and read in place");
// The graph's numbers go into the file.
using graph::Activation;
static_assert(Activation{0} == Activation::none && Activation{1} == Activation::relu && Activation{2} == Activation::relu6 &&
              Activation{3} == Activation::clip && Activation{4} == Activation::leaky_relu && Activation{5} == Activation::sigmoid &&
              Activation{6} == Activation::hard_sigmoid && Activation{7} == Activation::tanh && Activation{8} == Activation::silu &&
              Activation{9} == Activation::hard_swish && Activation{10} == Activation::gelu && Activation{11} == Activation::elu);

struct Header {
  char magic[8];
  uint32_t version, zero;
  uint64_t file_bytes, tables_at, tables_bytes, data_at, data_bytes;
  uint32_t tables_crc, data_crc;
};
static_assert(sizeof(Header) == kHeaderBytes);

uint64_t aligned(uint64_t bytes) { return (bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment; }

class Writer {
 public:
  template <typename T>
  void put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void all(const std::vector<T>& values) {
    if (!values.empty()) bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void text(const std::string& text) {
    const size_t size = std::min(text.size(), kNameBytesMax);
    put(static_cast<uint32_t>(size));
    bytes.append(text, 0, size);
  }
  std::string bytes;
};

// Reads what lies inside, and says so once it would have to read beyond.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T get() {
    T value{};
    if (bytes_.size() < sizeof value) bad_ = true;
    else std::memcpy(&value, bytes_.data(), sizeof value), bytes_.remove_prefix(sizeof value);
    return value;
  }
  template <typename T>
  void all(size_t count, std::vector<T>& out) {
    if (bad_ || count > bytes_.size() / sizeof(T)) {
      bad_ = true;
      return;
    }
    out.resize(count);
    if (count > 0) std::memcpy(out.data(), bytes_.data(), count * sizeof(T));
    bytes_.remove_prefix(count * sizeof(T));
  }
  std::string text() {
    const uint32_t size = get<uint32_t>();
    if (bad_ || size > kNameBytesMax || size > bytes_.size()) {
      bad_ = true;
      return {};
    }
    std::string out(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    for (char& c : out) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';  // it goes into messages
    }
    return out;
  }
  // A count of things of at least `bytes` each.
  size_t count(size_t max, size_t bytes) {
    const uint32_t count = get<uint32_t>();
    if (bad_ || count > max || count > bytes_.size() / bytes) bad_ = true;
    return bad_ ? 0 : count;
  }
  bool bad() const { return bad_; }
  bool at_end() const { return bytes_.empty(); }
  void fail() { bad_ = true; }

 private:
  std::string_view bytes_;
  bool bad_ = false;
};

void write(Writer& out, const Tensor& tensor) {
  out.put(static_cast<uint8_t>(tensor.type));
  out.put(static_cast<uint8_t>(tensor.shape.size()));
  out.put(uint16_t{0});
  out.put(tensor.zero_point);
  out.all(tensor.shape);
  out.put(static_cast<uint32_t>(tensor.scale.size()));
  out.all(tensor.scale);
  out.put(tensor.data_at);
  out.text(tensor.name);
}

void write(Writer& out, const Step& step) {
  out.put(static_cast<uint8_t>(step.op));
  out.put(static_cast<uint8_t>(step.activation.kind));
  out.put(static_cast<uint8_t>(step.inputs.size()));
  out.put(static_cast<uint8_t>(step.outputs.size()));
  out.put(static_cast<uint32_t>(step.ints.size()));
  out.put(static_cast<uint32_t>(step.floats.size()));
  out.put(step.activation.alpha);
  out.put(step.activation.beta);
  out.all(step.inputs);
  out.all(step.outputs);
  out.all(step.ints);
  out.all(step.floats);
  out.text(step.name);
}

Tensor read_tensor(Reader& in) {
  Tensor tensor;
  tensor.type = static_cast<Type>(in.get<uint8_t>());
  const uint8_t rank = in.get<uint8_t>();
  const uint16_t zero = in.get<uint16_t>();
  if (rank > kRankMax || zero != 0) in.fail();
  tensor.zero_point = in.get<int32_t>();
  in.all(rank, tensor.shape);
  in.all(in.count(static_cast<size_t>(kElementsMax), sizeof(float)), tensor.scale);
  tensor.data_at = in.get<uint64_t>();
  tensor.name = in.text();
  return tensor;
}

Step read_step(Reader& in) {
  Step step;
  step.op = static_cast<Op>(in.get<uint8_t>());
  step.activation.kind = static_cast<Activation>(in.get<uint8_t>());
  const uint8_t inputs = in.get<uint8_t>(), outputs = in.get<uint8_t>();
  const uint32_t ints = in.get<uint32_t>(), floats = in.get<uint32_t>();
  if (inputs > kStepInputsMax || outputs > kStepOutputsMax || ints > kStepNumbersMax || floats > kStepNumbersMax) in.fail();
  step.activation.alpha = in.get<float>();
  step.activation.beta = in.get<float>();
  in.all(inputs, step.inputs);
  in.all(outputs, step.outputs);
  in.all(ints, step.ints);
  in.all(floats, step.floats);
  step.name = in.text();
  return step;
}

Result<Plan> parse_tables(std::string_view bytes) {
  constexpr size_t kTensorBytesMin = 24, kStepBytesMin = 24;
  Reader in(bytes);
  Plan plan;
  const size_t tensors = in.count(kTensorsMax, kTensorBytesMin), inputs = in.count(kTensorsMax, 1), outputs = in.count(kTensorsMax, 1),
               steps = in.count(kStepsMax, kStepBytesMin);
  for (size_t i = 0; i < tensors && !in.bad(); ++i) plan.tensors.push_back(read_tensor(in));
  in.all(inputs, plan.inputs);
  in.all(outputs, plan.outputs);
  for (size_t i = 0; i < steps && !in.bad(); ++i) plan.steps.push_back(read_step(in));
  if (in.bad() || !in.at_end()) return fail(Code::corrupt, "the tables of the plan do not parse: compile the model again");
  return plan;
}

Result<Header> read_header(std::string_view bytes) {
  Header header{};
  if (bytes.size() < sizeof header) return fail(Code::corrupt, "{} bytes are too few for a plan", bytes.size());
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof header.magic) != 0) return fail(Code::corrupt, "it is no plan: it does not start as one");
  if (header.version != kVersion) {
    return fail(Code::invalid, "it is a plan of version {}, this program reads {}: compile the model again", header.version, kVersion);
  }
  if (header.file_bytes != bytes.size() || header.zero != 0) {
    return fail(Code::corrupt, "it has {} bytes and says {}: copy it again", bytes.size(), header.file_bytes);
  }
  const bool inside = header.tables_at == kHeaderBytes && header.tables_bytes <= bytes.size() - kHeaderBytes &&
                      header.data_at == aligned(kHeaderBytes + header.tables_bytes) && header.data_at <= bytes.size() &&
                      header.data_bytes == bytes.size() - header.data_at;
  if (!inside) return fail(Code::corrupt, "its header does not fit its size: copy it again");
  return header;
}

// The plan without its data, after checksums.
Result<Plan> parse(std::string_view bytes) {
  SKERRY_ASSIGN(Header header, read_header(bytes));
  const std::string_view tables = bytes.substr(header.tables_at, header.tables_bytes), data = bytes.substr(header.data_at);
  if (crc32c(tables) != header.tables_crc || crc32c(data) != header.data_crc) {
    return fail(Code::corrupt, "its checksum does not hold: copy it again, or compile the model again");
  }
  SKERRY_ASSIGN(Plan plan, parse_tables(tables));
  plan.data_bytes = header.data_bytes;
  return plan;
}

std::shared_ptr<const std::byte> copy_aligned(const char* bytes, size_t size) {
  auto* at = static_cast<std::byte*>(::operator new(std::max<size_t>(size, 1), std::align_val_t{kDataAlignment}));
  if (size > 0) std::memcpy(at, bytes, size);
  return {at, [](const std::byte* p) { ::operator delete(const_cast<std::byte*>(p), std::align_val_t{kDataAlignment}); }};
}

Status check_twice(const Plan& plan) {  // what depends on the batch shows at two
  SKERRY_TRY(check(plan, 1));
  return check(plan, 2);
}

}  // namespace

const char* to_string(Type type) {
  switch (type) {
    case Type::f32: return "f32";
    case Type::i8: return "i8";
    case Type::u8: return "u8";
  }
  return "unknown";
}

const char* to_string(Op op) {
  static constexpr const char* kNames[] = {"",       "quantize", "dequantize", "convolution", "linear",  "max_pool",  "average_pool",
                                           "binary", "activate", "unary",      "softmax",     "layer_norm", "reduce", "concat",
                                           "reshape", "transpose", "pad",      "slice",       "matmul",  "recurrent"};
  const auto at = static_cast<size_t>(op);
  return at >= 1 && at < std::size(kNames) ? kNames[at] : "unknown";
}

size_t bytes_of(Type type) { return type == Type::f32 ? 4 : 1; }

Dims Plan::dims(uint32_t tensor, int64_t batch) const {
  Dims out(tensors[tensor].shape.begin(), tensors[tensor].shape.end());
  for (int64_t& size : out) size = size == -1 ? batch : size;
  return out;
}

int64_t elements(const Dims& dims) {
  int64_t product = 1;
  for (int64_t size : dims) {
    if (size < 0 || size > kElementsMax) return -1;
    product *= size;
    if (product > kElementsMax) return -1;
  }
  return product;
}

std::string encode(const Plan& plan) {
  Writer tables;
  tables.put(static_cast<uint32_t>(plan.tensors.size()));
  tables.put(static_cast<uint32_t>(plan.inputs.size()));
  tables.put(static_cast<uint32_t>(plan.outputs.size()));
  tables.put(static_cast<uint32_t>(plan.steps.size()));
  for (const Tensor& tensor : plan.tensors) write(tables, tensor);
  tables.all(plan.inputs);
  tables.all(plan.outputs);
  for (const Step& step : plan.steps) write(tables, step);

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof header.magic);
  header.version = kVersion;
  header.tables_at = kHeaderBytes;
  header.tables_bytes = tables.bytes.size();
  header.data_at = aligned(kHeaderBytes + header.tables_bytes);
  header.data_bytes = plan.data_bytes;
  header.file_bytes = header.data_at + header.data_bytes;
  const std::string_view data(reinterpret_cast<const char*>(plan.data.get()), plan.data_bytes);
  header.tables_crc = crc32c(tables.bytes);
  header.data_crc = crc32c(data);
  std::string out(reinterpret_cast<const char*>(&header), sizeof header);
  out += tables.bytes;
  out.resize(header.data_at, '\0');
  out += data;
  return out;
}

Result<Plan> decode(std::string_view bytes) {
  SKERRY_ASSIGN(Plan plan, parse(bytes));
  plan.data = copy_aligned(bytes.data() + (bytes.size() - plan.data_bytes), plan.data_bytes);
  SKERRY_TRY(check_twice(plan));
  return plan;
}

Result<Plan> open(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return fail(errno == ENOENT ? Code::not_found : Code::unavailable, "cannot read {}: {}", file.string(),
                std::generic_category().message(errno));
  }
  struct stat info {};
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!regular || size < kHeaderBytes || size > kFileBytesMax) {
    ::close(fd);
    return fail(Code::corrupt, "{}: {} bytes are too few or too many for a plan", file.string(), size);
  }
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int reason = errno;
  ::close(fd);
  if (mapped == MAP_FAILED) return fail(Code::unavailable, "cannot map {}: {}", file.string(), std::generic_category().message(reason));
  std::shared_ptr<const char> mapping(static_cast<const char*>(mapped), [size](const char* at) { ::munmap(const_cast<char*>(at), size); });
  Result<Plan> plan = parse({mapping.get(), size});
  if (plan.ok()) {
    plan->data = {mapping, reinterpret_cast<const std::byte*>(mapping.get() + (size - plan->data_bytes))};
    if (Status checked = check_twice(*plan); !checked.ok()) plan = checked.error();
  }
  if (!plan.ok()) return Error{plan.error().code, fmt::format("{}: {}", file.string(), plan.error().message)};
  return plan;
}

uint64_t DataWriter::add(const void* bytes, size_t size) {
  bytes_.resize(aligned(bytes_.size()), '\0');
  const uint64_t at = bytes_.size();
  bytes_.append(static_cast<const char*>(bytes), size);
  return at;
}

void DataWriter::finish(Plan& plan) && {
  plan.data_bytes = bytes_.size();
  plan.data = copy_aligned(bytes_.data(), bytes_.size());
}

}  // namespace skerry::inference::plan
