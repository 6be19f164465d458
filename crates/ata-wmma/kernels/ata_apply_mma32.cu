// lockstep: arch = compute_80
// y = alpha A x + beta y with 32-bit blocks, split into pieces in registers; see src/kernels/apply.rs.
//
// A warp is a part of a strip. Lanes read their elements of a block straight from memory: eight rows of four columns, or
// four rows of eight when it is mirrored, so that every sector that is fetched is used.
#include "mma.cuh"

// Element of a block, or of its mirror image.
__device__ __forceinline__ float element(const float* __restrict__ block, bool mirrored, unsigned row, unsigned column) {
    return __ldg(block + (mirrored ? column * 16 + row : row * 16 + column));
}

// Calls begin(j) for every tile of this warp's part of the strip, and each(half, block, mirrored) for its blocks.
template <typename Begin, typename Each>
__device__ __forceinline__ void walk(const float* __restrict__ a, const unsigned* __restrict__ tiles,
                                     const unsigned* __restrict__ starts, const ApplyParams& p, Begin begin, Each each) {
    __shared__ Turns::List lists[kParts];
    const Turns turns(lists[threadIdx.x / 32], tiles, starts);
    const float* blocks = a + u64(blockIdx.y) * p.blocks * 256;
    for (unsigned i = 0; i < turns.count; ++i) {
        begin(turns.at(i, 0));
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned block = turns.at(i, 1 + half);
            if (block != kAbsent) each(half, blocks + u64(block >> 1) * 256, (block & 1) != 0);
        }
    }
}

template <unsigned PIECES>
__device__ __forceinline__ void product_tf32(const float* __restrict__ a, const float* __restrict__ x,
                                             const unsigned* __restrict__ tiles, const unsigned* __restrict__ starts,
                                             const int* __restrict__ matrix_exponents,
                                             const int* __restrict__ exponents, float* __restrict__ y,
                                             const ApplyParams& p) {
    __shared__ float parts[kParts][32][kGroup];
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u64 vector_stride = u64(p.frames_pad) * p.channels * p.n_pad;
    const float* vectors = x + ((u64(blockIdx.z) * kGroup + g) * p.channels + blockIdx.y) * p.n_pad + t;
    float sums[2][4] = {};
    unsigned right[PIECES][2][2];
    walk(a, tiles, starts, p,
         [&](unsigned j) {
             for (unsigned q = 0; q < PIECES; ++q) {
                 for (unsigned k = 0; k < 4; ++k) {
                     right[q][k / 2][k % 2] = __float_as_uint(vectors[q * vector_stride + u64(j) * 16 + 4 * k]);
                 }
             }
         },
         [&](unsigned half, const float* __restrict__ block, bool mirrored) {
             unsigned left[PIECES][2][4];
             for (unsigned k = 0; k < 2; ++k) {
                 for (unsigned e = 0; e < 4; ++e) {
                     const float v = element(block, mirrored, g + 8 * (e % 2), 8 * k + t + 4 * (e / 2));
                     if (PIECES == 1) {
                         left[0][k][e] = __float_as_uint(v);
                     } else {
                         const float hi = round_tf32(v);
                         left[0][k][e] = __float_as_uint(hi);
                         left[PIECES - 1][k][e] = __float_as_uint(round_tf32(v - hi));
                     }
                 }
             }
             if (PIECES == 2) {
                 for (unsigned k = 0; k < 2; ++k) mma8(sums[half], left[PIECES - 1][k], right[0][k]);
                 for (unsigned k = 0; k < 2; ++k) mma8(sums[half], left[0][k], right[PIECES - 1][k]);
             }
             for (unsigned k = 0; k < 2; ++k) mma8(sums[half], left[0][k], right[0][k]);
         });
    keep(parts[threadIdx.x / 32], sums);
    store_strip(p, parts, matrix_exponents, exponents, y);
}

extern "C" __global__ void __launch_bounds__(32 * kParts)
ata_apply_mma_tf32(const float* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ tiles,
                   const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents,
                   const int* __restrict__ exponents, float* __restrict__ y, ApplyParams p) {
    product_tf32<1>(a, x, tiles, starts, matrix_exponents, exponents, y, p);
}
extern "C" __global__ void __launch_bounds__(32 * kParts)
ata_apply_mma_tf32x3(const float* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ tiles,
                     const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents,
                     const int* __restrict__ exponents, float* __restrict__ y, ApplyParams p) {
    product_tf32<2>(a, x, tiles, starts, matrix_exponents, exponents, y, p);
}

extern "C" __global__ void __launch_bounds__(32 * kParts)
ata_apply_mma_bf16x3(const float* __restrict__ a, const u16* __restrict__ x, const unsigned* __restrict__ tiles,
                     const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents,
                     const int* __restrict__ exponents, float* __restrict__ y, ApplyParams p) {
    __shared__ float parts[kParts][32][kGroup];
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u64 vector_stride = u64(p.frames_pad) * p.channels * p.n_pad;
    const u16* vectors = x + ((u64(blockIdx.z) * kGroup + g) * p.channels + blockIdx.y) * p.n_pad + 2 * t;
    float sums[2][4] = {};
    unsigned right[3][2];
    walk(a, tiles, starts, p, [&](unsigned j) { right16<3>(right, vectors + u64(j) * 16, vector_stride); },
         [&](unsigned half, const float* __restrict__ block, bool mirrored) {
             unsigned left[3][4];
             for (unsigned e = 0; e < 4; ++e) {
                 unsigned pair[3] = {};
                 for (unsigned side = 0; side < 2; ++side) {
                     float rest = element(block, mirrored, g + 8 * (e % 2), 2 * t + 8 * (e / 2) + side);
                     for (unsigned piece = 0; piece < 3; ++piece) {
                         const u16 bits = bf16_bits(rest);
                         pair[piece] |= unsigned(bits) << (16 * side);
                         rest -= of_bf16(bits);
                     }
                 }
                 for (unsigned piece = 0; piece < 3; ++piece) left[piece][e] = pair[piece];
             }
             mma16<kBf16>(sums[half], left[2], right[0]);
             mma16<kBf16>(sums[half], left[1], right[1]);
             mma16<kBf16>(sums[half], left[0], right[2]);
             mma16<kBf16>(sums[half], left[1], right[0]);
             mma16<kBf16>(sums[half], left[0], right[1]);
             mma16<kBf16>(sums[half], left[0], right[0]);
         });
    keep(parts[threadIdx.x / 32], sums);
    store_strip(p, parts, matrix_exponents, exponents, y);
}
