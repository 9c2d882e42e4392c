// The few inner loops that are worth vector instructions, chosen once by what the processor has; portable loops otherwise.
// Threads: any. On failure: none.
#pragma once

#include <cstdint>

#include "inference/plan/internal/round.h"

namespace skerry::inference::plan {

// planes [channels, pixels] of reals to bytes [pixels, channels].
void quantize_planes(const float* from, uint8_t* to, int64_t pixels, int64_t channels, float inverse_scale, const Rounding& rounding);

float dot(const float* a, const float* b, int64_t count);

}  // namespace skerry::inference::plan
