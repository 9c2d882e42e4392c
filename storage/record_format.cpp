#include "storage/record_format.h"

#include "storage/internal/coding.h"

namespace skerry::storage {
namespace {

using internal::Reader;
using internal::seal;
using internal::unseal;
using internal::Writer;

constexpr uint8_t kVersion = 1;  // of all four formats; their tags are below

void put(Writer& out, const TimeRange& range) {
  out.signed64(range.from_ns);
  out.signed64(range.to_ns);
}

TimeRange take_range(Reader& in) {
  TimeRange range;
  range.from_ns = in.signed64();
  range.to_ns = in.signed64();
  return range;
}

void put(Writer& out, const std::vector<float>& values) {
  out.varint(values.size());
  out.raw(values.data(), values.size() * sizeof(float));
}

std::vector<float> take_floats(Reader& in) {
  const uint64_t n = in.varint();
  if (n > in.left() / sizeof(float)) {
    in.raw(in.left() + 1);  // more than there is: fails the reader before anything is allocated
    return {};
  }
  std::vector<float> values(n);
  std::string_view bytes = in.raw(n * sizeof(float));
  if (n > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// The last byte of a row, which rows of before do not have.
void put_unless_zero(Writer& out, uint8_t value) {
  if (value != 0) out.u8(value);
}

uint8_t take_if_there(Reader& in) {
  if (in.left() == 0) return 0;
  const uint8_t value = in.u8();
  if (value == 0) in.raw(in.left() + 1);  // never written: fails the reader
  return value;
}

Error damaged(const char* what) { return fail(Code::corrupt, "a {} has bytes that do not add up", what); }

}  // namespace

std::string encode(const Prediction& p) {
  Writer out;
  out.fixed64(number(p.id));
  out.text(p.model);
  out.fixed32(p.version);
  out.text(p.series);
  put(out, p.window);
  out.fixed32(p.window_rows);
  out.signed64(p.at_ns);
  put(out, p.scores);
  out.signed32(p.top);
  out.signed32(p.label);
  put_unless_zero(out, p.label_trust);
  return seal('P', kVersion, out.bytes());
}

Result<Prediction> decode_prediction(std::string_view bytes) {
  SKERRY_ASSIGN(std::string_view body, unseal('P', kVersion, bytes, "prediction"));
  Reader in(body);
  Prediction p;
  p.id = PredictionId{in.fixed64()};
  p.model = in.text();
  p.version = in.fixed32();
  p.series = in.text();
  p.window = take_range(in);
  p.window_rows = in.fixed32();
  p.at_ns = in.signed64();
  p.scores = take_floats(in);
  p.top = in.signed32();
  p.label = in.signed32();
  p.label_trust = take_if_there(in);
  if (!in.done()) return damaged("prediction");
  return p;
}

std::string encode(const Label& l) {
  Writer out;
  out.fixed64(number(l.id));
  out.text(l.model);
  out.fixed64(number(l.prediction));
  out.text(l.series);
  put(out, l.window);
  out.signed32(l.value);
  out.text(l.source);
  out.signed64(l.at_ns);
  put_unless_zero(out, l.trust);
  return seal('L', kVersion, out.bytes());
}

Result<Label> decode_label(std::string_view bytes) {
  SKERRY_ASSIGN(std::string_view body, unseal('L', kVersion, bytes, "label"));
  Reader in(body);
  Label l;
  l.id = LabelId{in.fixed64()};
  l.model = in.text();
  l.prediction = PredictionId{in.fixed64()};
  l.series = in.text();
  l.window = take_range(in);
  l.value = in.signed32();
  l.source = in.text();
  l.at_ns = in.signed64();
  l.trust = take_if_there(in);
  if (!in.done()) return damaged("label");
  return l;
}

std::string encode(const Example& e) {
  Writer out;
  out.fixed64(number(e.id));
  out.text(e.model);
  out.text(e.series);
  put(out, e.window);
  out.fixed32(e.channels);
  out.signed32(e.label);
  out.u8(static_cast<uint8_t>(e.role));
  out.fixed64(number(e.prediction));
  out.signed64(e.at_ns);
  put(out, e.data);
  put_unless_zero(out, e.hardness);
  return seal('E', kVersion, out.bytes());
}

Result<Example> decode_example(std::string_view bytes) {
  SKERRY_ASSIGN(std::string_view body, unseal('E', kVersion, bytes, "example"));
  Reader in(body);
  Example e;
  e.id = ExampleId{in.fixed64()};
  e.model = in.text();
  e.series = in.text();
  e.window = take_range(in);
  e.channels = in.fixed32();
  e.label = in.signed32();
  const uint8_t role = in.u8();
  e.role = static_cast<ExampleRole>(role);
  e.prediction = PredictionId{in.fixed64()};
  e.at_ns = in.signed64();
  e.data = take_floats(in);
  e.hardness = take_if_there(in);
  const bool role_known = role == 1 || role == 2;
  const bool shape_fits = e.channels == 0 ? e.data.empty() : e.data.size() % e.channels == 0;
  if (!in.done() || !role_known || !shape_fits) return damaged("example");
  return e;
}

std::string encode(const ModelVersion& v) {
  Writer out;
  out.text(v.model);
  out.fixed32(v.version);
  out.fixed32(v.parent);
  out.u8(static_cast<uint8_t>(v.state));
  out.u8(v.pinned ? 1 : 0);
  out.text(v.reason);
  out.text(v.digest);
  out.text(v.job);
  out.signed64(v.created_ns);
  out.signed64(v.changed_ns);
  out.f64(v.holdout_accuracy);
  return seal('M', kVersion, out.bytes());
}

Result<ModelVersion> decode_model_version(std::string_view bytes) {
  SKERRY_ASSIGN(std::string_view body, unseal('M', kVersion, bytes, "model version"));
  Reader in(body);
  ModelVersion v;
  v.model = in.text();
  v.version = in.fixed32();
  v.parent = in.fixed32();
  const uint8_t state = in.u8();
  v.state = static_cast<ModelState>(state);
  v.pinned = in.u8() != 0;
  v.reason = in.text();
  v.digest = in.text();
  v.job = in.text();
  v.created_ns = in.signed64();
  v.changed_ns = in.signed64();
  v.holdout_accuracy = in.f64();
  if (!in.done() || state < 1 || state > 6) return damaged("model version");
  return v;
}

}  // namespace skerry::storage
