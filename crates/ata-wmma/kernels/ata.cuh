// What the kernels of this crate share; twins in src/kernels and src/precision.rs.
#pragma once
#include "lockstep.cuh"

typedef unsigned long long u64;
typedef unsigned short u16;

constexpr unsigned kAbsent = 0xffffffffu;    // twin of ABSENT
constexpr unsigned kParts = 8;               // twin of PARTS
constexpr unsigned kGroup = 8;               // twin of GROUP
constexpr unsigned kLanes = 256;             // twin of LANES

struct ApplyParams {
    unsigned frames, frames_pad, channels, n, n_pad, strips, blocks;
    float alpha, beta;
};

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

// Writes an element of y from the sum of all parts.
__device__ __forceinline__ void store_row(const ApplyParams& p, unsigned c, unsigned row, unsigned frame, float sum,
                                          const int* __restrict__ matrix_exponents, const int* __restrict__ exponents,
                                          float* __restrict__ y) {
    if (row >= p.n || frame >= p.frames) return;
    const u64 line = u64(frame) * p.channels + c;
    const float v = p.alpha * scaled(sum, -(matrix_exponents[c] + exponents[line]));
    float* out = y + line * p.n + row;
    *out = p.beta == 0.0f ? v : fmaf(p.beta, *out, v);
}

// The tiles that a warp takes of its strip. The first 32 are fetched at once, a lane a tile, so that no later access waits
// for a chain of loads.
struct Turns {
    typedef unsigned List[32][3];

    const unsigned* tiles;
    unsigned first, count;
    const List& list;

    __device__ __forceinline__ Turns(List& own, const unsigned* __restrict__ all, const unsigned* __restrict__ starts)
        : tiles(all), list(own) {
        const unsigned lane = threadIdx.x % 32, end = starts[blockIdx.x + 1];
        first = starts[blockIdx.x] + threadIdx.x / 32;
        count = first < end ? (end - first + kParts - 1) / kParts : 0;
        if (lane < count) {
            for (unsigned k = 0; k < 3; ++k) own[lane][k] = all[3 * u64(first + lane * kParts) + k];
        }
        __syncwarp();
    }

    // Column (0) or block of a half (1, 2) of the i-th tile.
    __device__ __forceinline__ unsigned at(unsigned i, unsigned k) const {
        return i < 32 ? list[i][k] : tiles[3 * u64(first + i * kParts) + k];
    }
};

// Adds the parts of a strip in order, and writes them; a warp a part.
__device__ __forceinline__ void store_strip(const ApplyParams& p, const float (&parts)[kParts][32][kGroup],
                                            const int* __restrict__ matrix_exponents,
                                            const int* __restrict__ exponents, float* __restrict__ y) {
    __syncthreads();
    const unsigned row = threadIdx.x % 32;
    for (unsigned f = threadIdx.x / 32; f < kGroup; f += kParts) {
        float sum = parts[0][row][f];
        for (unsigned part = 1; part < kParts; ++part) sum += parts[part][row][f];
        store_row(p, blockIdx.y, blockIdx.x * 32 + row, blockIdx.z * kGroup + f, sum, matrix_exponents, exponents, y);
    }
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

__device__ __forceinline__ float clip(float v, const FistaParams& p) {
    v = v < p.lower ? p.lower : v;
    return v > p.upper ? p.upper : v;
}
