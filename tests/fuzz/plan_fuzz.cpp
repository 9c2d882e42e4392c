// plan.bin: hostile bytes give an error; what is accepted survives the way back and can be run. Checksums are set right first, or nothing
// behind them would ever be reached.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "inference/plan/executor.h"

using namespace skerry;
using namespace skerry::inference::plan;

namespace {

void seal(std::string& bytes) {
  if (bytes.size() < kHeaderBytes) return;
  uint64_t tables_bytes = 0, data_at = 0;
  std::memcpy(&tables_bytes, bytes.data() + 32, 8);
  std::memcpy(&data_at, bytes.data() + 40, 8);
  if (tables_bytes > bytes.size() - kHeaderBytes || data_at > bytes.size()) return;
  const uint32_t tables = crc32c(std::string_view(bytes).substr(kHeaderBytes, tables_bytes)), data = crc32c(std::string_view(bytes).substr(data_at));
  std::memcpy(bytes.data() + 56, &tables, 4);
  std::memcpy(bytes.data() + 60, &data, 4);
}

// Small ones only: a plan may be large and right.
bool is_small(const Plan& plan) {
  int64_t sum = 0;
  for (uint32_t id = 0; id < plan.tensors.size(); ++id) sum += elements(plan.dims(id, 2));
  return sum < 1 << 16 && multiplies(plan) < 1 << 20 && plan.steps.size() < 64;
}

void run(const Plan& plan) {
  auto executor = Executor::make(plan);
  if (!executor.ok()) return;
  for (int64_t batch : {1, 2}) {
    std::vector<std::vector<float>> in, out;
    std::vector<const float*> from;
    std::vector<float*> to;
    for (uint32_t id : plan.inputs) in.emplace_back(static_cast<size_t>(elements(plan.dims(id, batch))), 0.5f);
    for (uint32_t id : plan.outputs) out.emplace_back(static_cast<size_t>(elements(plan.dims(id, batch))));
    for (auto& values : in) from.push_back(values.data());
    for (auto& values : out) to.push_back(values.data());
    (void)(*executor)->run(batch, from.data(), to.data());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  (void)decode(bytes);
  seal(bytes);
  auto plan = decode(bytes);
  if (!plan.ok()) {
    if (plan.error().message.size() > 4096) std::abort();
    return 0;
  }
  auto again = decode(encode(*plan));
  if (!again.ok() || encode(*again) != encode(*plan)) std::abort();
  if (is_small(*plan)) run(*plan);
  return 0;
}
