// L = sum over colours of |g(a) - g(gain b)|, and the rows' sums of |a - gain b|; see src/kernels/difference.rs.
#include "align.cuh"

struct DifferenceParams {
    unsigned height, width, a_top, a_left, b_top, b_left, rows, columns;
    float gain;
};
LOCKSTEP_PARAMS(DifferenceParams, 36);

__device__ __forceinline__ float gamma_of(float v) { return v > 0.0f ? powf(v, float(1.0 / 2.2)) : v; }

// One warp a row.
extern "C" __global__ void difference_f32(const float* __restrict__ a, const float* __restrict__ b,
                                          float* __restrict__ out, double* __restrict__ loss, DifferenceParams p) {
    const uint64 y = warp_of(), area = uint64(p.height) * p.width;
    if (y >= p.rows) return;
    const float* from_a = a + (p.a_top + y) * p.width + p.a_left;
    const float* from_b = b + (p.b_top + y) * p.width + p.b_left;
    float* row = out + y * p.columns;
    for (unsigned x = lane_of(); x < p.columns; x += kLanes) {
        float sum = 0;
#pragma unroll
        for (unsigned c = 0; c < 3; ++c) {
            sum += fabsf(gamma_of(from_a[c * area + x]) - gamma_of(p.gain * from_b[c * area + x]));
        }
        row[x] = sum;
    }
    double total = 0;
#pragma unroll
    for (unsigned c = 0; c < 3; ++c) {
        total += lane_sum<float2>(
            p.columns, [&](unsigned x) { return make_float2(from_a[c * area + x], from_b[c * area + x]); },
            [&](float2 v) { return double(fabsf(v.x - p.gain * v.y)); });
    }
    if (lane_of() == 0) loss[y] = total;
}
