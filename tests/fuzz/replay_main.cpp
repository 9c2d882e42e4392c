// Replays a corpus folder through a fuzz target, so that ordinary tests keep what fuzzing found. Each input is also run truncated at every
// power of two and with one flipped bit per byte position of its first 256 bytes.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {
void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}
}  // namespace

int main(int argc, char** argv) {
  size_t inputs = 0;
  run("");
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::string input((std::istreambuf_iterator<char>(file)), {});
      run(input);
      ++inputs;
      for (size_t n = 1; n < input.size(); n *= 2) run(input.substr(0, n));
      for (size_t at = 0; at < std::min<size_t>(input.size(), 256); ++at) {
        std::string flipped = input;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
        run(flipped);
      }
    }
  }
  if (inputs == 0) {
    std::fprintf(stderr, "no corpus found: a fuzz target needs at least one input\n");
    return 1;
  }
  std::printf("%zu corpus inputs replayed\n", inputs);
}
