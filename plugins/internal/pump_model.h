// A rotating pump with a three-axis accelerometer, as a stream of samples.
//
// Sources: Randall & Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25 (2011): impulses at the
// ball pass frequency with random slip that excite a structural resonance; ISO 13373-1 and -3 and ISO 20816-1:
// imbalance at 1x, radial, 90 degrees apart; misalignment at 2x with an axial part; Cernetic & Cudina, "Estimating
// uncertainty of measurements for cavitation detection in a centrifugal pump", Measurement 44 (2011): cavitation as
// broadband high-frequency bursts.
//
// Machines differ as real ones do: speed, bearing geometry, blades, resonance, transmissibility, mounting angle,
// noise floor, and how much of each fault a healthy machine of its kind shows. So the absolute level of a line says
// little on a machine that was never seen, and much on one whose labels are known. The sensor is AC-coupled (no
// gravity), +-8 g in 16 bits, and drifts slowly.
//
// Deterministic: equal machine, seed and script give equal samples, however they are fetched.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "plugins/source.h"

namespace skerry::plugins {

enum class Condition : uint8_t {
  normal,
  imbalance,
  misalignment,
  bearing,
  cavitation
};  // in kPumpConditions order

// What is particular about one machine.
struct PumpMachine {
  double speed_hz = 25, blades = 6, ball_pass_ratio = 3.5;  // ball pass frequency, outer race, per revolution
  double resonance_hz = 140, damping = 0.04;
  double vertical = 0.8;                            // stiffness ratio: radial y over x
  std::array<std::array<double, 3>, 3> mounting{};  // machine frame to sensor frame, with axis gains
  std::array<double, 3> offset{}, drift_offset{}, drift_gain{};
  double noise = 0.02;  // mechanical, g
  // Amplitudes in g: what a healthy one shows, and what a fault of severity 1 adds.
  double residual_imbalance = 0, residual_misalignment = 0, vane = 0, turbulence = 0, wear = 0;
  double fault_imbalance = 0, fault_misalignment = 0, fault_bearing = 0, fault_cavitation = 0;
  std::array<double, 4> phase{};
};

PumpMachine draw_machine(const std::string& name, uint64_t seed);

class PumpModel {
 public:
  PumpModel(const PumpMachine& machine, double rate_hz, uint64_t seed, double drift_per_hour);

  void set_condition(Condition condition, double severity);
  std::array<double, 3> next();  // one sample [g]

 private:
  void turn();
  double bearing();
  std::array<double, 3> cavitation();
  std::array<double, 3> sense(const std::array<double, 3>& machine_frame);

  const PumpMachine machine_;
  const double dt_, drift_per_hour_;
  Random random_;
  uint64_t sample_ = 0;
  // Levels in g move to their goals within a tenth of a second when the condition changes.
  struct Levels {
    double imbalance = 0, misalignment = 0, bearing = 0, cavitation = 0;
  } level_, goal_;
  bool begun_ = false;
  // Rotation.
  double speed_hz_, wander_ = 0, phase_ = 0, load_ = 1, load_goal_ = 1, load_left_s_ = 0;
  // Structural resonance rung by rolling elements: a decaying complex oscillator.
  std::complex<double> ring_, ring_step_;
  double impact_left_ = 1;  // of the way to the next impact, in ball passes
  // Cavitation: collapsing bubble clouds as bursts of high-passed noise.
  double burst_ = 0;
  std::array<double, 3> noise_before_{};
};

}  // namespace skerry::plugins
