// Any bytes as an TensorFlow Lite file: what is accepted is a sound graph that describes itself; what is refused says why in a line.
#include <cstdint>
#include <span>

#include "base/check.h"
#include "inference/frontends/tflite.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry::inference;
  auto graph = frontends::from_tflite(std::as_bytes(std::span(data, size)));
  if (!graph.ok()) {
    SKERRY_CHECK(!graph.error().message.empty() && graph.error().message.size() < 4096, "an error of {} bytes",
                 graph.error().message.size());
    return 0;
  }
  skerry::Status sound = check(*graph);
  SKERRY_CHECK(sound.ok(), "a graph was accepted that is not sound: {}", sound.error().message);
  SKERRY_CHECK(!describe(*graph).empty(), "a graph says nothing of itself");
  return 0;
}
