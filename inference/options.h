// Options of inference; config/ fills them from [inference].
#pragma once

#include <cstdint>
#include <filesystem>

namespace skerry::inference {

struct Options {
  std::filesystem::path models = "var/models";          // packages: NAME/VERSION/
  std::filesystem::path torch_runtime;                  // libskerry_torch_runtime.so; empty: beside the program
  uint64_t package_bytes_max = 256 << 20;
  uint32_t batch_max = 256;                             // rows of the first dimension in one request
};

}  // namespace skerry::inference
