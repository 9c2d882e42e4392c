// The bytes of predictions, labels, examples and model versions, as stored and (predictions, labels) as sent.
// On failure: decode answers `corrupt` for any damaged or hostile input.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "storage/types.h"

namespace skerry::storage {

// A label's value that takes back what was said of its prediction: the score is as it was, and the example is gone. Not -1, which is what
// a sender's program has for "no class" when something is wrong with it.
inline constexpr int32_t kWithdrawn = -2;

std::string encode(const Prediction& prediction);
std::string encode(const Label& label);
std::string encode(const Example& example);
std::string encode(const ModelVersion& version);
Result<Prediction> decode_prediction(std::string_view bytes);
Result<Label> decode_label(std::string_view bytes);
Result<Example> decode_example(std::string_view bytes);
Result<ModelVersion> decode_model_version(std::string_view bytes);

}  // namespace skerry::storage
