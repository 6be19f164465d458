// What the kernels of this crate share; twins in src/kernels and src/precision.rs.
#pragma once
#include "lockstep.cuh"

typedef unsigned long long u64;
typedef unsigned short u16;

constexpr unsigned kAbsent = 0xffffffffu;    // twin of ABSENT
constexpr unsigned kParts = 8;               // twin of PARTS
constexpr unsigned kGroup = 8;               // twin of GROUP
constexpr unsigned kLanes = 256;             // twin of LANES

struct FistaParams {
    unsigned frames, channels, n;
    float lower, upper, lambda;
};

// 2^e for e in -126..=127.
__device__ __forceinline__ float power_of_two(int e) { return __uint_as_float(unsigned(e + 127) << 23); }

// v 2^e in two exact steps.
__device__ __forceinline__ float scaled(float v, int e) {
    const int half = e >> 1;
    return v * power_of_two(half) * power_of_two(e - half);
}

__device__ __forceinline__ bool is_finite(float v) { return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u; }

// Ten bits of fraction, ties to even.
__device__ __forceinline__ float round_tf32(float v) {
    if (!is_finite(v)) return v;
    const unsigned bits = __float_as_uint(v);
    return __uint_as_float((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
}

__device__ __forceinline__ u16 bf16_bits(float v) {
    const unsigned bits = __float_as_uint(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return u16((bits >> 16) | 0x40u);
    return u16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
__device__ __forceinline__ float of_bf16(u16 bits) { return __uint_as_float(unsigned(bits) << 16); }

__device__ __forceinline__ u16 f16_bits(float v) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
}
__device__ __forceinline__ float of_f16(u16 bits) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
    return v;
}

// Adds the upper half of 256 lanes to the lower until one is left; every thread gets the figures.
template <int K>
__device__ __forceinline__ void fold(double (&own)[K], double (&lanes)[K][kLanes]) {
    const unsigned lane = threadIdx.x;
    for (int k = 0; k < K; ++k) lanes[k][lane] = own[k];
    __syncthreads();
    for (unsigned half = kLanes / 2; half > 0; half /= 2) {
        if (lane < half) {
            for (int k = 0; k < K; ++k) lanes[k][lane] += lanes[k][lane + half];
        }
        __syncthreads();
    }
    for (int k = 0; k < K; ++k) own[k] = lanes[k][0];
}

// Sums of strips (a tree of 32 each) in 32 parts: part q has added the strips q, q + 32, ... in order. Every lane gets the
// sum of all parts; twin of fold_strips.
template <typename Of>
__device__ __forceinline__ double add_strips(unsigned strips, Of of) {
    double own = 0;
    for (unsigned s = threadIdx.x % 32; s < strips; s += 32) own += of(s);
    return lockstep::warp_sum(own);
}

// The step of Fista's momentum; twin of momentum().
__device__ __forceinline__ float momentum(double& t, bool restart) {
    double after, beta;
    if (restart) {
        after = (1.0 + sqrt(5.0)) * 0.5;
        beta = 0;
    } else {
        after = (1.0 + sqrt(1.0 + 4.0 * t * t)) * 0.5;
        beta = (t - 1.0) / after;
    }
    t = after;
    return float(beta);
}

__device__ __forceinline__ float clip(float v, const FistaParams& p) {
    v = v < p.lower ? p.lower : v;
    return v > p.upper ? p.upper : v;
}
