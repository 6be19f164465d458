// Matrix instructions on 16 rows and 8 frames.
#pragma once
#include "ata.cuh"

enum Format { kF16, kBf16 };

// d += a b, 16 columns of 16-bit operands.
template <Format F>
__device__ __forceinline__ void mma16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    if (F == kF16) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
}

// d += a b, 8 columns of TF32 operands.
__device__ __forceinline__ void mma8(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Copies 16 bytes to shared memory; the warp goes on.
__device__ __forceinline__ void copy16(unsigned to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// Writes a warp's sums to its part: this lane holds rows l/4 and l/4 + 8 of each half, frames 2 (l % 4) and the next.
__device__ __forceinline__ void keep(float (&part)[32][kGroup], const float (&sums)[2][4]) {
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned k = 0; k < 4; ++k) part[16 * half + g + 8 * (k / 2)][2 * t + k % 2] = sums[half][k];
    }
}

// A pair of values in 16-bit pieces.
template <Format F, unsigned PIECES>
__device__ __forceinline__ void split16(unsigned (&to)[PIECES], float low, float high) {
    for (unsigned piece = 0; piece < PIECES; ++piece) {
        const u16 a = F == kF16 ? f16_bits(low) : bf16_bits(low), b = F == kF16 ? f16_bits(high) : bf16_bits(high);
        to[piece] = unsigned(a) | unsigned(b) << 16;
        low -= F == kF16 ? of_f16(a) : of_bf16(a);
        high -= F == kF16 ? of_f16(b) : of_bf16(b);
    }
}

// A value in TF32 pieces.
template <unsigned PIECES>
__device__ __forceinline__ void split8(unsigned (&to)[PIECES], float v) {
    for (unsigned piece = 0; piece < PIECES; ++piece) {
        const float near = round_tf32(v);
        to[piece] = __float_as_uint(near);
        v -= near;
    }
}

// sums += the products of pieces that count, small to large.
template <Format F>
__device__ __forceinline__ void products16(float (&d)[4], const unsigned (&a)[1][4], const unsigned (&b)[1][2]) {
    mma16<F>(d, a[0], b[0]);
}
template <Format F>
__device__ __forceinline__ void products16(float (&d)[4], const unsigned (&a)[2][4], const unsigned (&b)[2][2]) {
    mma16<F>(d, a[1], b[0]);
    mma16<F>(d, a[0], b[1]);
    mma16<F>(d, a[0], b[0]);
}
template <Format F>
__device__ __forceinline__ void products16(float (&d)[4], const unsigned (&a)[3][4], const unsigned (&b)[3][2]) {
    mma16<F>(d, a[2], b[0]);
    mma16<F>(d, a[1], b[1]);
    mma16<F>(d, a[0], b[2]);
    mma16<F>(d, a[1], b[0]);
    mma16<F>(d, a[0], b[1]);
    mma16<F>(d, a[0], b[0]);
}

// The same of a whole block of TF32 operands, two instructions each.
template <unsigned PIECES>
__device__ __forceinline__ void products8(float (&d)[4], const unsigned (&a)[PIECES][2][4],
                                          const unsigned (&b)[PIECES][2][2]) {
    if (PIECES == 2) {
        for (unsigned k = 0; k < 2; ++k) mma8(d, a[PIECES - 1][k], b[0][k]);
        for (unsigned k = 0; k < 2; ++k) mma8(d, a[0][k], b[PIECES - 1][k]);
    }
    for (unsigned k = 0; k < 2; ++k) mma8(d, a[0][k], b[0][k]);
}
