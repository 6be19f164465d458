// lockstep: arch = compute_80
// Products with 32-bit blocks, split into pieces in registers; see src/kernels/apply.rs.
//
// A warp is a part of a strip. Lanes read their elements of a block straight from memory: eight rows of four columns, or
// four rows of eight when it is mirrored, so that every sector that is fetched is used.
#include "apply.cuh"
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
                                             const Operands& operands, const ApplyParams& p) {
    __shared__ float parts[kParts][32][kGroup];
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const Line line(p, x, blockIdx.z * kGroup + g, blockIdx.y);
    float sums[2][4] = {};
    unsigned right[PIECES][2][2];
    walk(a, tiles, starts, p,
         [&](unsigned j) {
             for (unsigned k = 0; k < 4; ++k) {
                 unsigned pieces[PIECES];
                 split8(pieces, line.one(j * 16 + t + 4 * k));
                 for (unsigned q = 0; q < PIECES; ++q) right[q][k / 2][k % 2] = pieces[q];
             }
         },
         [&](unsigned half, const float* __restrict__ block, bool mirrored) {
             unsigned left[PIECES][2][4];
             for (unsigned k = 0; k < 2; ++k) {
                 for (unsigned e = 0; e < 4; ++e) {
                     const float v = element(block, mirrored, g + 8 * (e % 2), 8 * k + t + 4 * (e / 2));
                     // One piece has been rounded before.
                     unsigned pieces[PIECES] = {__float_as_uint(v)};
                     if (PIECES > 1) split8(pieces, v);
                     for (unsigned q = 0; q < PIECES; ++q) left[q][k][e] = pieces[q];
                 }
             }
             products8<PIECES>(sums[half], left, right);
         });
    keep(parts[threadIdx.x / 32], sums);
    finish_strip(p, operands, parts);
}

__device__ __forceinline__ void product_bf16x3(const float* __restrict__ a, const float* __restrict__ x,
                                               const unsigned* __restrict__ tiles, const unsigned* __restrict__ starts,
                                               const Operands& operands, const ApplyParams& p) {
    __shared__ float parts[kParts][32][kGroup];
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const Line line(p, x, blockIdx.z * kGroup + g, blockIdx.y);
    float sums[2][4] = {};
    unsigned right[3][2];
    walk(a, tiles, starts, p,
         [&](unsigned j) {
             for (unsigned k = 0; k < 2; ++k) {
                 const float2 v = line.two(j * 16 + 2 * t + 8 * k);
                 unsigned pieces[3];
                 split16<kBf16>(pieces, v.x, v.y);
                 for (unsigned q = 0; q < 3; ++q) right[q][k] = pieces[q];
             }
         },
         [&](unsigned half, const float* __restrict__ block, bool mirrored) {
             unsigned left[3][4];
             for (unsigned e = 0; e < 4; ++e) {
                 const unsigned row = g + 8 * (e % 2), column = 2 * t + 8 * (e / 2);
                 unsigned pieces[3];
                 split16<kBf16>(pieces, element(block, mirrored, row, column), element(block, mirrored, row, column + 1));
                 for (unsigned q = 0; q < 3; ++q) left[q][e] = pieces[q];
             }
             products16<kBf16>(sums[half], left, right);
         });
    keep(parts[threadIdx.x / 32], sums);
    finish_strip(p, operands, parts);
}

#define ATA_APPLY(name, product)                                                                                     \
    extern "C" __global__ void __launch_bounds__(32 * kParts)                                                        \
    name(const float* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ tiles,               \
         const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents, const int* exponents,        \
         const float* plain, const float* b, float* y, double* partials, ApplyParams p) {                            \
        product(a, x, tiles, starts, {matrix_exponents, exponents, plain, b, y, partials}, p);                       \
    }
ATA_APPLY(ata_apply_mma_tf32, product_tf32<1>)
ATA_APPLY(ata_apply_mma_tf32x3, product_tf32<2>)
ATA_APPLY(ata_apply_mma_bf16x3, product_bf16x3)
