// A column as a smooth function of two others, z = f(x, y): a polynomial whose terms have x^i y^j for i and j up to some degree, fitted by
// least squares, and what it misses each value by. Derived quantities (a humidity ratio, an apparent power, a dew point) are such functions,
// and their digits can't be predicted from the past.
// All that decoding needs is done in integers, so that every machine comes to the same predictions.
// Threads: any; nothing is shared. On failure: reading answers false for any damaged or hostile input and allocates nothing but what it
// decodes.
#pragma once

#include <cstdint>
#include <span>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

// How closely z follows x and y: what the best plane with a twist misses, as a part of how much z varies, in all but a few of the rows.
// 0: exactly; 1 or more, or not a number: not at all. For samples of rows.
double misfit(std::span<const double> x, std::span<const double> y, std::span<const double> z);
// Whether a surface may take less than that many bits a value, as far as a sample tells: it is close already, or comes closer with its
// degree, as smooth functions do and noise does not.
bool may_pay(std::span<const double> x, std::span<const double> y, std::span<const double> z, double bits_per_value);

// All of one size, at least one value, all finite. False: nothing was written, since such numbers are too large for it.
bool encode_surface(std::span<const double> x, std::span<const double> y, std::span<const double> z, Writer& out);
bool decode_surface(Reader& in, std::span<const double> x, std::span<const double> y, std::span<double> z);

}  // namespace skerry::storage::internal
