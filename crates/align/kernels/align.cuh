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

// The sum of term(0) ... term(n - 1) by one warp, right in lane 0; the twin of `lane_sum` in src/kernels/mod.rs.
template <typename Term>
__device__ __forceinline__ double lane_sum(unsigned n, Term term) {
    double sum = 0;
#pragma unroll 4
    for (unsigned i = lane_of(); i < n; i += kLanes) sum += term(i);
    for (unsigned half = kLanes / 2; half > 0; half /= 2) sum += __shfl_down_sync(kWhole, sum, half);
    return sum;
}
