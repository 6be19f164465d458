// The sum of all colours over each row of a rectangle; see src/kernels/rect_sums.rs.
#include "align.cuh"

constexpr unsigned kColours = 3;

struct RectSumsParams {
    unsigned height, width, top, left, rows, columns;
};
LOCKSTEP_PARAMS(RectSumsParams, 24);

// One warp a row.
extern "C" __global__ void __launch_bounds__(256)
rect_sums_f32(const float* __restrict__ x, double* __restrict__ out, RectSumsParams p) {
    const uint64 y = warp_of(), area = uint64(p.height) * p.width;
    if (y >= p.rows) return;
    const float* row = x + (p.top + y) * p.width + p.left;
    double total = 0;
#pragma unroll
    for (unsigned c = 0; c < kColours; ++c, row += area) {
        total += lane_sum<float>(p.columns, [&](unsigned i) { return row[i]; }, [](float v) { return double(v); });
    }
    if (lane_of() == 0) out[y] = total;
}
