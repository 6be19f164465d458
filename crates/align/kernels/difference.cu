// L = sum over colours of |g(a) - g(gain b)|, and the rows' sums of |a - loss_gain b|; see src/kernels/difference.rs.
#include "align.cuh"

constexpr unsigned kColours = 3;
constexpr unsigned kAhead = 4;    // pixels that a lane asks for before it uses the first

struct DifferenceParams {
    unsigned height, width, a_top, a_left, b_top, b_left, rows, columns;
    float gain, loss_gain;
};
LOCKSTEP_PARAMS(DifferenceParams, 40);

// v^(1/2.2) as 2^n 2^f: the exponent's share of y = log2(v) / 2.2 is exact to 2^-27, so that the two approximations, of
// 2^-22 at most each, decide: 3 units of the last place.
__device__ __forceinline__ float gamma_of(float v) {
    constexpr float kHigh = 0.45454545f, kLow = float(1.0 / 2.2 - double(0.45454545f));
    // Subnormal numbers are raised by 2^44, which the power makes 2^20.
    const bool tiny = v < 1.17549435e-38f;
    const unsigned bits = __float_as_uint(tiny ? v * 17592186044416.0f : v);
    const float exponent = float(int(bits >> 23) - 127);
    float log, power;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log) : "f"(__uint_as_float((bits & 0x7fffffu) | 0x3f800000u)));
    const float whole = rintf(exponent * kHigh);
    const float rest = fmaf(log, kHigh, fmaf(exponent, kLow, fmaf(exponent, kHigh, -whole)));
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(rest));
    // 2^whole is a normal number: whole lies between -57 and 58.
    const float scale = __uint_as_float(unsigned(int(whole) + (tiny ? 107 : 127)) << 23);
    return v > 0.0f && v < INFINITY ? power * scale : v;
}

// One warp a row, which is read once.
extern "C" __global__ void __launch_bounds__(256)
difference_f32(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ out,
               double* __restrict__ loss, DifferenceParams p) {
    const uint64 y = warp_of(), area = uint64(p.height) * p.width;
    if (y >= p.rows) return;
    const float* from_a = a + (p.a_top + y) * p.width + p.a_left;
    const float* from_b = b + (p.b_top + y) * p.width + p.b_left;
    float* row = out + y * p.columns;
    double sums[kColours] = {0, 0, 0};
    for (unsigned first = lane_of(); first < p.columns; first += kAhead * kLanes) {
        float v[kAhead][kColours], w[kAhead][kColours];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            const unsigned x = min(first + k * kLanes, p.columns - 1);
#pragma unroll
            for (unsigned c = 0; c < kColours; ++c) {
                v[k][c] = from_a[c * area + x];
                w[k][c] = from_b[c * area + x];
            }
        }
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            const unsigned x = first + k * kLanes;
            float sum = 0;
#pragma unroll
            for (unsigned c = 0; c < kColours; ++c) {
                sum += fabsf(gamma_of(v[k][c]) - gamma_of(p.gain * w[k][c]));
                if (x < p.columns) sums[c] += double(fabsf(v[k][c] - p.loss_gain * w[k][c]));
            }
            if (x < p.columns) row[x] = sum;
        }
    }
    double total = 0;
#pragma unroll
    for (unsigned c = 0; c < kColours; ++c) total += fold_lanes(sums[c]);
    if (lane_of() == 0) loss[y] = total;
}
