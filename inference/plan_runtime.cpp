// Plans behind the seam: tensors in, tensors out; what a plan can't serve goes to the other runtime.
#include <algorithm>

#include "base/log.h"
#include "inference/plan/executor.h"
#include "inference/runtime.h"

namespace skerry::inference {
namespace {

class PlanSession final : public Session {
 public:
  explicit PlanSession(std::shared_ptr<const plan::Executor> executor) : executor_(std::move(executor)) {}

  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const override {
    const plan::Plan& plan = executor_->plan();
    if (inputs.size() != plan.inputs.size() || inputs.empty() || inputs[0].shape.empty()) {
      return fail(Code::invalid, "the plan takes {} inputs, not {}", plan.inputs.size(), inputs.size());
    }
    SKERRY_ASSIGN(const int64_t batch, batch_of(inputs));
    std::vector<const float*> from;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].type != DataType::fp32 || inputs[i].shape != plan.dims(plan.inputs[i], batch) ||
          inputs[i].data.size() != static_cast<size_t>(plan::elements(plan.dims(plan.inputs[i], batch))) * sizeof(float)) {
        return fail(Code::invalid, "input '{}' does not have the type and shape that the plan was compiled for", inputs[i].name);
      }
      from.push_back(reinterpret_cast<const float*>(inputs[i].data.data()));
    }
    std::vector<Tensor> outputs;
    std::vector<float*> to;
    for (uint32_t id : plan.outputs) {
      Tensor out{plan.tensors[id].name, DataType::fp32, plan.dims(id, batch), {}};
      out.data.resize(static_cast<size_t>(plan::elements(out.shape)) * sizeof(float));
      outputs.push_back(std::move(out));
    }
    for (Tensor& out : outputs) to.push_back(reinterpret_cast<float*>(out.data.data()));
    SKERRY_TRY(executor_->run(batch, from.data(), to.data()));
    return outputs;
  }

  std::string description() const override { return "plan " + plan::Executor::instruction_set(); }
  std::string platform() const override { return "skerry_plan"; }

 private:
  // Where the plan has its unknown dimension. The rest of the shapes is compared with it afterwards.
  Result<int64_t> batch_of(const std::vector<Tensor>& inputs) const {
    const plan::Plan& plan = executor_->plan();
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto& shape = plan.tensors[plan.inputs[i]].shape;
      const auto at = static_cast<size_t>(std::find(shape.begin(), shape.end(), -1) - shape.begin());
      if (at >= shape.size()) continue;
      if (at >= inputs[i].shape.size() || inputs[i].shape[at] < 1 || inputs[i].shape[at] > plan::kRequestMax) {
        return fail(Code::invalid, "input '{}' has no batch from 1 to {}", inputs[i].name, plan::kRequestMax);
      }
      return inputs[i].shape[at];
    }
    return int64_t{1};
  }

  const std::shared_ptr<const plan::Executor> executor_;
};

// What another runtime serves, with the reason why it has to.
class OtherSession final : public Session {
 public:
  OtherSession(std::shared_ptr<Session> session, std::string reason) : session_(std::move(session)), reason_(std::move(reason)) {}

  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const override { return session_->run(inputs); }
  std::string description() const override { return session_->description(); }
  std::string platform() const override { return session_->platform(); }
  std::string no_plan() const override { return reason_; }

 private:
  const std::shared_ptr<Session> session_;
  const std::string reason_;
};

class PlanRuntime final : public Runtime {
 public:
  explicit PlanRuntime(std::unique_ptr<Runtime> other) : other_(std::move(other)) {}

  std::string name() const override { return "plan"; }

  Result<std::shared_ptr<Session>> load(const Package& package) override {
    if (package.info.int8_file != kPlanFile) return load_other(package, package.info.no_plan.empty() ? "it has none" : package.info.no_plan);
    Result<plan::Plan> plan = plan::open(package.file(kPlanFile));
    Result<std::shared_ptr<const plan::Executor>> executor =
        plan.ok() ? plan::Executor::make(std::move(*plan)) : Result<std::shared_ptr<const plan::Executor>>(plan.error());
    if (executor.ok()) return std::shared_ptr<Session>(std::make_shared<PlanSession>(std::move(*executor)));
    // Another machine's library, or an older program: the same model as LibTorch has it, when the package brings it.
    std::error_code ignored;
    if (!other_ || !std::filesystem::exists(package.file(kTorchFile), ignored)) {
      return Error{executor.error().code, fmt::format("{}: {}", package.file(kPlanFile).string(), executor.error().message)};
    }
    Package with_torch = package;
    with_torch.info.int8_file = kTorchFile;
    return load_other(with_torch, executor.error().message);
  }

 private:
  Result<std::shared_ptr<Session>> load_other(const Package& package, const std::string& reason) {
    if (!other_) return fail(Code::invalid, "{} has no {} ({})", package.folder.string(), kPlanFile, reason);
    log::info("inference", "{}/{} is served by {}, not by a plan: {}", package.info.name, package.info.version, other_->name(), reason);
    SKERRY_ASSIGN(std::shared_ptr<Session> session, other_->load(package));
    return std::shared_ptr<Session>(std::make_shared<OtherSession>(std::move(session), reason));
  }

  const std::unique_ptr<Runtime> other_;
};

}  // namespace

std::unique_ptr<Runtime> make_plan_runtime(std::unique_ptr<Runtime> other) { return std::make_unique<PlanRuntime>(std::move(other)); }

}  // namespace skerry::inference
