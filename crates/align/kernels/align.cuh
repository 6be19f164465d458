// Helpers that the kernels of this crate share.
#pragma once

#include "lockstep.cuh"

using lockstep::uint64;

constexpr unsigned kLanes = 32;            // twin of LANES in src/kernels/mod.rs
constexpr unsigned kWhole = 0xffffffffu;   // every lane of a warp

__device__ __forceinline__ unsigned lane_of() { return threadIdx.x % kLanes; }
// This warp among all of the grid along x.
__device__ __forceinline__ uint64 warp_of() {
    return (blockIdx.x * uint64(blockDim.x) + threadIdx.x) / kLanes;
}

// Elements that a lane asks for before it uses the first: a row of a few thousand is then a few waits for memory.
constexpr unsigned kBatch = 16;

// Calls use(i, load(i)) for every i < n of this lane (lane, lane + 32, ...) in order. All loads of a batch are on their
// way before the first is used. load must be a function of i alone; beyond the end it gets the last element again.
template <typename Value, typename Load, typename Use>
__device__ __forceinline__ void for_lane(unsigned n, Load load, Use use) {
    for (unsigned i = lane_of(); i < n; i += kBatch * kLanes) {
        Value values[kBatch];
#pragma unroll
        for (unsigned k = 0; k < kBatch; ++k) values[k] = load(min(i + k * kLanes, n - 1));
#pragma unroll
        for (unsigned k = 0; k < kBatch; ++k) {
            if (i + k * kLanes < n) use(i + k * kLanes, values[k]);
        }
    }
}

// The sum of the lanes' sums, right in lane 0; the second half of `lane_sum` in src/kernels/mod.rs.
__device__ __forceinline__ double fold_lanes(double sum) {
    for (unsigned half = kLanes / 2; half > 0; half /= 2) sum += __shfl_down_sync(kWhole, sum, half);
    return sum;
}

// The sum of term(load(0)) ... term(load(n - 1)) by one warp, right in lane 0; the twin of `lane_sum` in
// src/kernels/mod.rs.
template <typename Value, typename Load, typename Term>
__device__ __forceinline__ double lane_sum(unsigned n, Load load, Term term) {
    double sum = 0;
    for_lane<Value>(n, load, [&](unsigned, const Value& v) { sum += term(v); });
    return fold_lanes(sum);
}

// sqrt(x), rounded to nearest, for x in [2^-100, 2^100]: what the compiler makes of sqrtf, without its way out for the
// rest, which would be a branch for each root.
__device__ __forceinline__ float root_of_normal(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    const float root = x * y;
    return fmaf(fmaf(-root, root, x), 0.5f * y, root);
}
