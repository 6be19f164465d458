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

// Writes a warp's sums to its part: this lane holds rows l/4 and l/4 + 8 of each half, frames 2 (l % 4) and the next.
__device__ __forceinline__ void keep(float (&part)[32][kGroup], const float (&sums)[2][4]) {
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned k = 0; k < 4; ++k) part[16 * half + g + 8 * (k / 2)][2 * t + k % 2] = sums[half][k];
    }
}

// The right operand of 16-bit pieces: columns 2t, 2t + 1 and 8 further, of frame g.
template <unsigned PIECES>
__device__ __forceinline__ void right16(unsigned (&b)[PIECES][2], const u16* __restrict__ x, u64 piece_stride) {
    for (unsigned q = 0; q < PIECES; ++q) {
        b[q][0] = *reinterpret_cast<const unsigned*>(x + q * piece_stride);
        b[q][1] = *reinterpret_cast<const unsigned*>(x + q * piece_stride + 8);
    }
}
