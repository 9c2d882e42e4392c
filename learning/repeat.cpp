#include "learning/repeat.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "learning/provenance.h"

namespace skerry::learning {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kIdsBytesMax = 64 << 20;

Result<storage::ModelVersion> record_of(const storage::Store& store, const std::string& model, uint32_t version) {
  SKERRY_ASSIGN(std::vector<storage::ModelVersion> versions, store.versions(model));
  const auto found = std::find_if(versions.begin(), versions.end(), [&](const auto& v) { return v.version == version; });
  if (found == versions.end()) return fail(Code::not_found, "there is no version {} of '{}'", version, model.substr(0, 64));
  if (found->job.empty()) return fail(Code::not_found, "{}/{} was not made by a job of this node: there is nothing to repeat", model, version);
  return *found;
}

// Leaves out the windows whose predictions no longer carry the label that the window has. A prediction that the ledger let go of can't have changed.
Status leave_out(const storage::Store& store, const fs::path& ids_file, ExampleSet& set, std::vector<uint64_t>& ids, uint32_t& left_out) {
  SKERRY_ASSIGN(const std::string bytes, read_file(ids_file, kIdsBytesMax));
  SKERRY_ASSIGN(const std::vector<uint64_t> all, decode_ids(bytes));
  if (all.size() != set.windows.size()) return fail(Code::corrupt, "{} names {} predictions for {} windows", ids_file.string(), all.size(), set.windows.size());
  std::vector<LabelledWindow> kept;
  for (size_t i = 0; i < all.size(); ++i) {
    const Result<storage::Prediction> p = store.prediction(storage::PredictionId{all[i]});
    if (!p.ok() && p.error().code != Code::not_found) return p.error();
    if (p.ok() && p->label != set.windows[i].label) {
      ++left_out;
      continue;
    }
    kept.push_back(std::move(set.windows[i]));
    ids.push_back(all[i]);
  }
  set.windows = std::move(kept);
  return {};
}

}  // namespace

Result<RepeatedJob> repeat_without_withdrawn(const storage::Store& store, const std::string& model, uint32_t version) {
  SKERRY_ASSIGN(const storage::ModelVersion record, record_of(store, model, version));
  const fs::path folder = record.job;
  std::error_code error;
  if (!fs::exists(folder / kTrainIdsFile, error)) {
    return fail(Code::not_found, "the job folder of {}/{} is gone: {}; keep more of them with learning.jobs_kept, or train anew with `skerry models train {}`", model,
                version, folder.string(), model);
  }
  RepeatedJob job;
  SKERRY_ASSIGN(job.spec, read_job(folder));
  SKERRY_ASSIGN(job.train, read_examples(folder / kTrainFile));
  SKERRY_ASSIGN(job.holdout, read_examples(folder / kHoldoutFile));
  SKERRY_ASSIGN(job.calibration, read_examples(folder / kCalibrationFile));
  SKERRY_ASSIGN(job.parent, inference::Package::open(folder / "parent", kPackageBytesMax));
  if (fs::exists(folder / kResidualFile, error)) {
    SKERRY_ASSIGN(job.residual, read_file(folder / kResidualFile, kPackageBytesMax));
  }
  SKERRY_TRY(leave_out(store, folder / kTrainIdsFile, job.train, job.train_ids, job.left_out));
  SKERRY_TRY(leave_out(store, folder / kHoldoutIdsFile, job.holdout, job.holdout_ids, job.left_out));
  if (job.left_out == 0) return fail(Code::invalid, "none of the labels that {}/{} was made with was withdrawn or changed: there is nothing to repeat", model, version);
  if (job.train.windows.empty()) return fail(Code::invalid, "none of the labels that {}/{} was trained with is left", model, version);
  return job;
}

}  // namespace skerry::learning
