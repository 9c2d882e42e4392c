#include "storage/types.h"

#include "storage/options.h"

namespace skerry::storage {

const char* to_string(Durability durability) {
  switch (durability) {
    case Durability::batch:
      return "batch";
    case Durability::interval:
      return "interval";
    case Durability::os:
      return "os";
  }
  return "unknown";
}

const char* to_string(OutboxClass outbox_class) {
  switch (outbox_class) {
    case OutboxClass::alarm:
      return "alarm";
    case OutboxClass::telemetry:
      return "telemetry";
    case OutboxClass::backlog:
      return "backlog";
    case OutboxClass::label:
      return "label";
    case OutboxClass::model:
      return "model";
    case OutboxClass::diagnostics:
      return "diagnostics";
  }
  return "unknown";
}

const char* to_string(EntryKind kind) {
  switch (kind) {
    case EntryKind::samples:
      return "samples";
    case EntryKind::prediction:
      return "prediction";
    case EntryKind::label:
      return "label";
    case EntryKind::model_delta:
      return "model_delta";
    case EntryKind::model_event:
      return "model_event";
    case EntryKind::lost:
      return "lost";
  }
  return "unknown";
}

const char* to_string(LossReason reason) {
  switch (reason) {
    case LossReason::retention:
      return "retention";
    case LossReason::quota:
      return "quota";
    case LossReason::full:
      return "full";
    case LossReason::expired:
      return "expired";
    case LossReason::rolled_up:
      return "rolled_up";
  }
  return "unknown";
}

const char* to_string(OnFull on_full) {
  switch (on_full) {
    case OnFull::reject:
      return "reject";
    case OnFull::drop_oldest:
      return "drop_oldest";
    case OnFull::drop_newest:
      return "drop_newest";
    case OnFull::roll_up:
      return "roll_up";
  }
  return "unknown";
}

const char* to_string(ModelState state) {
  switch (state) {
    case ModelState::candidate:
      return "candidate";
    case ModelState::shadow:
      return "shadow";
    case ModelState::canary:
      return "canary";
    case ModelState::serving:
      return "serving";
    case ModelState::retired:
      return "retired";
    case ModelState::rejected:
      return "rejected";
  }
  return "unknown";
}

}  // namespace skerry::storage
