// lockstep: arch = compute_80
// Products in f16: a vertical pair of blocks is the left operand of m32n8k16; see src/kernels/apply.rs.
//
// The right operand comes straight from the vectors, whose unknowns lie together: eight frames are its columns. The sums
// stay in the fragment over all tiles of the strip.
#include <mma.h>

#include "apply.cuh"

using namespace nvcuda;

// One half of the tile: a block as it is, its mirror image, or zeros.
__device__ __forceinline__ void stage(__half* __restrict__ tile, const __half* __restrict__ blocks, unsigned block) {
    const unsigned lane = threadIdx.x;
    const unsigned row = lane / 2, column = lane % 2 * 8;
    lockstep::Pack<__half, 8> v;
    if (block == kAbsent) {
        for (int k = 0; k < 8; ++k) v.at[k] = __ushort_as_half(0);
        lockstep::store(tile + lane * 8, v);
        return;
    }
    v = lockstep::load<__half, 8>(blocks + u64(block >> 1) * 256 + lane * 8);
    if (block & 1) {
        for (unsigned k = 0; k < 8; ++k) tile[(column + k) * 16 + row] = v.at[k];
    } else {
        lockstep::store(tile + lane * 8, v);
    }
}

extern "C" __global__ void __launch_bounds__(32)
ata_apply_wmma32(const __half* __restrict__ a, const __half* __restrict__ x, const unsigned* __restrict__ tiles,
                 const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents, const int* exponents,
                 const float* plain, const float* b, float* y, double* partials, ApplyParams p) {
    __shared__ __align__(128) __half tile[2][512];
    __shared__ __align__(128) float sums[32 * kGroup];
    const unsigned strip = blockIdx.x, c = blockIdx.y;
    const __half* blocks = a + u64(c) * p.blocks * 256;
    const u64 stride = u64(p.channels) * p.n_pad;
    const __half* vectors = x + (u64(blockIdx.z) * kGroup * p.channels + c) * p.n_pad;
    wmma::fragment<wmma::accumulator, 32, 8, 16, float> total;
    wmma::fill_fragment(total, 0.0f);
    unsigned turn = 0;
    for (unsigned t = starts[strip]; t < starts[strip + 1]; ++t, turn ^= 1) {
        const unsigned* entry = tiles + 3 * u64(t);
        wmma::fragment<wmma::matrix_b, 32, 8, 16, __half, wmma::col_major> right;
        wmma::load_matrix_sync(right, vectors + u64(entry[0]) * 16, unsigned(stride));
        // Two tiles in turns: the one before may still be read.
        stage(tile[turn], blocks, entry[1]);
        stage(tile[turn] + 256, blocks, entry[2]);
        __syncwarp();
        wmma::fragment<wmma::matrix_a, 32, 8, 16, __half, wmma::row_major> left;
        wmma::load_matrix_sync(left, tile[turn], 16);
        wmma::mma_sync(total, left, right, total);
        __syncwarp();
    }
    wmma::store_matrix_sync(sums, total, kGroup, wmma::mem_row_major);
    __syncwarp();
    for (unsigned f = 0; f < kGroup; ++f) {
        finish(p, {matrix_exponents, exponents, plain, b, y, partials}, strip, c, blockIdx.z * kGroup + f,
               sums[threadIdx.x * kGroup + f]);
    }
}
