#include "plugins/internal/pump_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace skerry::plugins {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;
constexpr double kSensorRange = 8;  // g
constexpr double kSensorStep = 2 * kSensorRange / 65536;

// FNV-1a (Fowler, Noll, Vo): stable over platforms and versions, which std::hash is not.
uint64_t hash(std::string_view text, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325 ^ (seed * 0x9e3779b97f4a7c15);
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3;
  return h;
}

using Matrix = std::array<std::array<double, 3>, 3>;

Matrix rotation(size_t axis, double angle) {
  Matrix m{};
  const size_t a = (axis + 1) % 3, b = (axis + 2) % 3;
  m[axis][axis] = 1;
  m[a][a] = m[b][b] = std::cos(angle);
  m[a][b] = -std::sin(angle);
  m[b][a] = std::sin(angle);
  return m;
}

Matrix operator*(const Matrix& x, const Matrix& y) {
  Matrix out{};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      for (size_t k = 0; k < 3; ++k) out[i][j] += x[i][k] * y[k][j];
    }
  }
  return out;
}

}  // namespace

PumpMachine draw_machine(const std::string& name, uint64_t seed) {
  Random r(hash(name, seed));
  PumpMachine m;
  m.speed_hz = r.uniform(23.5, 26.5);
  m.blades = 5 + static_cast<double>(r.below(3));
  m.ball_pass_ratio = r.uniform(3.05, 4.1);
  m.resonance_hz = r.uniform(115, 170);
  m.damping = r.uniform(0.03, 0.07);
  m.vertical = r.uniform(0.65, 1.0);
  const double degree = kTurn / 360;
  m.mounting = rotation(2, r.uniform(-40, 40) * degree) * rotation(0, r.normal() * 8 * degree) *
               rotation(1, r.normal() * 8 * degree);
  const double transmissibility = std::exp(r.uniform(-0.15, 0.15));
  for (auto& row : m.mounting) {
    const double gain = transmissibility * r.uniform(0.9, 1.1);
    for (double& v : row) v *= gain;
  }
  for (size_t i = 0; i < 3; ++i) {
    m.offset[i] = 0.03 * r.normal();
    m.drift_offset[i] = r.uniform(-1, 1);
    m.drift_gain[i] = r.uniform(-1, 1);
  }
  m.noise = r.uniform(0.02, 0.05);
  m.residual_imbalance = r.uniform(0.03, 0.16);
  m.residual_misalignment = r.uniform(0.015, 0.10);
  m.vane = r.uniform(0.01, 0.06);
  m.turbulence = r.uniform(0.015, 0.065);
  m.wear = r.uniform(0.0, 0.15);
  m.fault_imbalance = r.uniform(0.13, 0.22);
  m.fault_misalignment = r.uniform(0.09, 0.17);
  m.fault_bearing = r.uniform(0.22, 0.50);
  m.fault_cavitation = r.uniform(0.11, 0.22);
  for (double& phase : m.phase) phase = r.uniform(0, kTurn);
  return m;
}

PumpModel::PumpModel(const PumpMachine& machine, double rate_hz, uint64_t seed, double drift_per_hour)
    : machine_(machine),
      dt_(1 / rate_hz),
      drift_per_hour_(drift_per_hour),
      random_(seed),
      speed_hz_(machine.speed_hz) {
  const double omega = kTurn * machine.resonance_hz;
  ring_step_ = std::exp(std::complex<double>(-machine.damping * omega, omega) * dt_);
  set_condition(Condition::normal, 0);
}

void PumpModel::set_condition(Condition condition, double severity) {
  goal_ = {machine_.residual_imbalance, machine_.residual_misalignment, machine_.wear, machine_.turbulence};
  switch (condition) {
    case Condition::normal:
      break;
    case Condition::imbalance:
      goal_.imbalance += severity * machine_.fault_imbalance;
      break;
    case Condition::misalignment:
      goal_.misalignment += severity * machine_.fault_misalignment;
      break;
    case Condition::bearing:
      goal_.bearing += severity * machine_.fault_bearing;
      break;
    case Condition::cavitation:
      goal_.cavitation += severity * machine_.fault_cavitation;
      break;
  }
  if (!begun_) level_ = goal_;  // a machine that is switched on ill is ill at once
}

// Speed wanders (Ornstein-Uhlenbeck, 4 s, 0.3 %) and sags with the load, which somebody changes now and then.
void PumpModel::turn() {
  load_left_s_ -= dt_;
  if (load_left_s_ <= 0) {
    load_goal_ = random_.uniform(0.75, 1.15);
    load_left_s_ = random_.uniform(6, 25);
  }
  load_ += (load_goal_ - load_) * dt_ / 1.5;
  constexpr double kWanderSeconds = 4, kWanderShare = 0.003;
  wander_ +=
      -wander_ * dt_ / kWanderSeconds + kWanderShare * std::sqrt(2 * dt_ / kWanderSeconds) * random_.normal();
  speed_hz_ = machine_.speed_hz * (1 + wander_ - 0.02 * (load_ - 1));
  phase_ = std::fmod(phase_ + kTurn * speed_hz_ * dt_,
                     kTurn * 1000);  // whole turns are dropped, harmonics keep their phase

  const double step = std::min(1.0, dt_ / 0.03);
  level_.imbalance += (goal_.imbalance - level_.imbalance) * step;
  level_.misalignment += (goal_.misalignment - level_.misalignment) * step;
  level_.bearing += (goal_.bearing - level_.bearing) * step;
  level_.cavitation += (goal_.cavitation - level_.cavitation) * step;
}

// Randall & Antoni 2011, section 2: impacts with 1.5 % slip, scaled by the load zone that the shaft's imbalance
// moves through.
double PumpModel::bearing() {
  ring_ *= ring_step_;
  const double passes = machine_.ball_pass_ratio * speed_hz_ * dt_;
  double left = passes;
  while (impact_left_ <= left) {
    left -= impact_left_;
    const double since = left / passes * dt_;  // the impact was this long before the sample
    const double omega = kTurn * machine_.resonance_hz;
    const double strength = level_.bearing * (1 + 0.4 * std::cos(phase_)) * std::exp(0.25 * random_.normal());
    ring_ += strength * std::exp(std::complex<double>(-machine_.damping * omega, omega) * since);
    impact_left_ = std::max(0.2, 1 + 0.015 * random_.normal());
  }
  impact_left_ -= left;
  return ring_.imag() * std::sqrt(load_);
}

std::array<double, 3> PumpModel::cavitation() {
  constexpr double kBurstsPerSecond = 30, kBurstSeconds = 0.02;
  burst_ *= std::exp(-dt_ / kBurstSeconds);
  if (random_.chance(kBurstsPerSecond * dt_)) burst_ += -std::log(1 - random_.uniform());
  // More suction head (less load) collapses fewer bubbles; blades sweep the cloud along.
  const double envelope =
      level_.cavitation * (0.35 + burst_) * load_ * (1 + 0.3 * std::cos(machine_.blades * phase_));
  std::array<double, 3> out{};
  for (size_t i = 0; i < 3; ++i) {
    const double noise = random_.normal();
    out[i] = envelope * (noise - noise_before_[i]) / std::numbers::sqrt2;  // first difference: high frequencies
    noise_before_[i] = noise;
  }
  return out;
}

std::array<double, 3> PumpModel::sense(const std::array<double, 3>& machine_frame) {
  const double hours = static_cast<double>(sample_) * dt_ / 3600;
  const double drift = std::tanh(drift_per_hour_ * hours);  // bounded, whatever the run's length
  std::array<double, 3> out{};
  for (size_t i = 0; i < 3; ++i) {
    double v = 0;
    for (size_t j = 0; j < 3; ++j) v += machine_.mounting[i][j] * machine_frame[j];
    v = v * (1 + drift * machine_.drift_gain[i]) + machine_.offset[i] + drift * machine_.drift_offset[i];
    v += 0.002 * random_.normal();
    out[i] = std::clamp(std::round(v / kSensorStep) * kSensorStep, -kSensorRange, kSensorRange);
  }
  return out;
}

// Machine frame: x horizontal and y vertical across the shaft, z along it.
std::array<double, 3> PumpModel::next() {
  turn();
  begun_ = true;
  const PumpMachine& m = machine_;
  const double one = phase_ + m.phase[0], two = 2 * phase_ + m.phase[1];
  const double vane = m.vane * load_ * std::cos(m.blades * phase_ + m.phase[2]);
  const double impact = bearing();
  const std::array<double, 3> bubbles = cavitation();
  std::array<double, 3> a{
      level_.imbalance * std::cos(one) + level_.misalignment * std::cos(two) + vane + 0.5 * impact,
      m.vertical * (level_.imbalance * std::sin(one) + 0.6 * level_.misalignment * std::cos(two)) + 0.7 * vane +
          impact,
      0.08 * level_.imbalance * std::cos(one) +
          level_.misalignment * (0.5 * std::cos(phase_ + m.phase[3]) + 0.6 * std::cos(two + std::numbers::pi)) +
          0.25 * impact,
  };
  for (size_t i = 0; i < 3; ++i) a[i] += bubbles[i] + m.noise * random_.normal();
  std::array<double, 3> out = sense(a);
  ++sample_;
  return out;
}

}  // namespace skerry::plugins
