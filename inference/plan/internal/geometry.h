// Shapes of the windowed steps, in one place for the check and for the kernels. A sequence [n, w, c] is an image of height 1.
// Threads: values. On failure: only checked plans have a geometry.
#pragma once

#include "inference/plan/plan.h"

namespace skerry::inference::plan {

struct Image {
  int64_t n = 1, h = 1, w = 1, c = 1;
};

// Rank 3 or 4.
inline Image image_of(const Dims& dims) {
  return dims.size() == 4 ? Image{dims[0], dims[1], dims[2], dims[3]} : Image{dims[0], 1, dims[1], dims[2]};
}

struct Window {
  int64_t kh = 1, kw = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;

  int64_t out_h(int64_t h) const { return (h + top + bottom - dilation_h * (kh - 1) - 1) / stride_h + 1; }
  int64_t out_w(int64_t w) const { return (w + left + right - dilation_w * (kw - 1) - 1) / stride_w + 1; }
  bool padded() const { return (top | left | bottom | right) != 0; }
};

inline Window convolution_window(const Step& step, const Dims& weights) {
  const auto& i = step.ints;
  return {weights[1], weights[2],  i[kStrideH], i[kStrideW],   i[kDilationH],
          i[kDilationW], i[kPadTop], i[kPadLeft], i[kPadBottom], i[kPadRight]};
}

inline Window pool_window(const Step& step) {
  const auto& i = step.ints;
  return {i[kPoolH], i[kPoolW], i[kPoolStrideH], i[kPoolStrideW], 1, 1, i[kPoolTop], i[kPoolLeft], i[kPoolBottom], i[kPoolRight]};
}

// x [..., in] as a matrix [rows, in].
inline int64_t rows_of(const Dims& dims) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < dims.size(); ++i) rows *= dims[i];
  return rows;
}

}  // namespace skerry::inference::plan
