// Device helpers that the kernels of all crates share. Only the toolkit's own headers are used.
//
// Kernels are compiled with --fmad=false: a product and a sum are two roundings, as in the CPU twins. Where a twin
// writes `mul_add`, the kernel writes `lockstep::fused`.
#pragma once

namespace lockstep {

typedef long long int64;
typedef unsigned long long uint64;

// ---- indices ----

// This thread among all threads of the launch along x, and their number: for loops over elements whose count may be
// larger than the grid, or than 32 bits hold.
//
//     for (uint64 i = first(); i < n; i += step()) ...
__device__ __forceinline__ uint64 first() { return uint64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ uint64 step() { return uint64(gridDim.x) * blockDim.x; }

// Remainder in [0, n) for every i; n > 0.
template <typename Int>
__device__ __forceinline__ Int periodic(Int i, Int n) {
    const Int j = i % n;
    return j < 0 ? j + n : j;
}

// Half-sample symmetric index, defined for every i: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
template <typename Int>
__device__ __forceinline__ Int mirrored(Int i, Int n) {
    const Int j = periodic<Int>(i, 2 * n);
    return j < n ? j : 2 * n - 1 - j;
}

// ---- arithmetic ----

// a * b + c with one rounding.
__device__ __forceinline__ float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return fma(a, b, c); }

// ---- a warp of 32 threads, all of which must take part ----

// Sum over the warp, in every lane. The order is fixed: lanes 16 apart first, then 8, 4, 2 and 1, so that lane i holds
// ((x_i + x_{i^16}) + (x_{i^8} + x_{i^24})) + ..., and all lanes have the same bits because each addition commutes.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
    return value;
}

// Largest value of the warp, in every lane. A NaN is passed over unless all are NaN.
template <typename T>
__device__ __forceinline__ T warp_max(T value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, value, lanes);
        value = value >= other || other != other ? value : other;
    }
    return value;
}

// ---- vector loads ----

// N elements that move as one access; the address must be a multiple of their size together.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
    T at[N];
};

// Whether a pointer can be read in packs.
template <typename T, int N>
__device__ __forceinline__ bool in_packs(const T* p) {
    return reinterpret_cast<uint64>(p) % sizeof(Pack<T, N>) == 0;
}

template <typename T, int N>
__device__ __forceinline__ Pack<T, N> load(const T* p) {
    return *reinterpret_cast<const Pack<T, N>*>(p);
}

template <typename T, int N>
__device__ __forceinline__ void store(T* p, Pack<T, N> values) {
    *reinterpret_cast<Pack<T, N>*>(p) = values;
}

}  // namespace lockstep

// States the size of a parameter structure, which its Rust twin has too.
#define LOCKSTEP_PARAMS(type, bytes) static_assert(sizeof(type) == (bytes), #type " must have " #bytes " bytes")
