// What a model sees of a raw window: its fields themselves, or features of them, and then normalised. The one definition of it, for the engine
// and the worker; windows are raw everywhere else.
// Threads: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "inference/package.h"

namespace skerry::inference {

// [channels, rows] of one window as the model gets it: rows is 1 when its features are numbers of the whole window.
std::array<int64_t, 2> input_shape(const WindowSpec& spec);
// `count` raw windows [fields, rows] one after the other into as many [channels, rows] of input_shape(), normalised.
std::vector<float> model_input(const WindowSpec& spec, const float* windows, size_t count);

}  // namespace skerry::inference
