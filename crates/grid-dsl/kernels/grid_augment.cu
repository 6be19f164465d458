// Isometries and permutations of colours: a warp an item, which is a grid, an isometry and a permutation; and digests of
// grids: a thread a grid. See src/kernels/augment.rs and src/kernels/digest.rs.
#include "grid.cuh"

extern "C" __global__ void __launch_bounds__(64)
grid_augment(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
             const unsigned* __restrict__ items, const unsigned char* __restrict__ permutations,
             unsigned char* __restrict__ out_sizes, unsigned char* __restrict__ out, unsigned count) {
    __shared__ unsigned char turned[kWarps][kSide][kSide + 4];
    unsigned char (&own)[kSide][kSide + 4] = turned[threadIdx.x / 32];
    const unsigned lane = lane_of();
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < count; n += u64(gridDim.x) * kWarps) {
        const unsigned source = items[3 * n], isometry = items[3 * n + 1];
        const unsigned char* colours = permutations + items[3 * n + 2] * 16;
        const unsigned h = sizes[2 * u64(source)], w = sizes[2 * u64(source) + 1];
        const unsigned char* from = cells + u64(source) * kCells;
        // Bit 0: columns reversed, bit 1: rows reversed, bit 2: then rows and columns exchanged.
        const bool transposed = isometry & 4;
        const unsigned oh = transposed ? w : h, ow = transposed ? (w == 0 ? 0 : h) : w;
        for (unsigned k = lane; k < h * 8; k += 32) {
            const unsigned i = k / 8, word = reinterpret_cast<const unsigned*>(from)[k];
            for (unsigned b = 0; b < 4; ++b) {
                const unsigned j = k % 8 * 4 + b, c = word >> (8 * b) & 255;
                if (j >= w) break;
                const unsigned ti = isometry & 2 ? h - 1 - i : i, tj = isometry & 1 ? w - 1 - j : j;
                own[transposed ? tj : ti][transposed ? ti : tj] = c < 16 ? colours[c] : c;
            }
        }
        __syncwarp();
        for (unsigned k = lane; k < kSide * 8; k += 32) {
            const unsigned i = k / 8;
            unsigned word = 0;
            for (unsigned b = 0; b < 4; ++b) {
                const unsigned j = k % 8 * 4 + b;
                if (i < oh && j < ow) word |= unsigned(own[i][j]) << (8 * b);
            }
            reinterpret_cast<unsigned*>(out + n * kCells)[k] = word;
        }
        if (lane < 2) out_sizes[2 * n + lane] = lane == 0 ? oh : ow;
        __syncwarp();
    }
}

struct Fnv {
    u64 hash = 0xcbf29ce484222325ull;
    __device__ __forceinline__ void byte(unsigned b) { hash = (hash ^ b) * 0x100000001b3ull; }
    template <unsigned N>
    __device__ __forceinline__ void text(const char (&t)[N]) {
        for (unsigned k = 0; k + 1 < N; ++k) byte(t[k]);
    }
    __device__ __forceinline__ void integer(int v) {
        if (v < 0) byte('-');
        const unsigned n = v < 0 ? -v : v;
        if (n >= 100) byte('0' + n / 100);
        if (n >= 10) byte('0' + n / 10 % 10);
        byte('0' + n % 10);
    }
};

extern "C" __global__ void __launch_bounds__(128)
grid_digest(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells, uint2* __restrict__ out,
            unsigned count) {
    for (u64 n = lockstep::first(); n < count; n += lockstep::step()) {
        const unsigned h = sizes[2 * n], w = sizes[2 * n + 1];
        const u64* rows = reinterpret_cast<const u64*>(cells + n * kCells);
        bool digits = h > 0 && w > 0;
        for (unsigned i = 0; i < h && digits; ++i) {
            for (unsigned q = 0; q * 8 < w; ++q) {
                const u64 eight = rows[i * 4 + q];
                for (unsigned b = 0; b < 8 && q * 8 + b < w; ++b) digits = digits && (eight >> (8 * b) & 255) < 10;
            }
        }
        Fnv fnv;
        if (digits) {
            fnv.text("{\"g\":\"");
        } else {
            fnv.text("{\"t\":[");
        }
        for (unsigned i = 0; i < h; ++i) {
            if (i > 0) fnv.byte(digits ? '/' : ',');
            if (!digits) fnv.text("{\"t\":[");
            for (unsigned q = 0; q * 8 < w; ++q) {
                const u64 eight = rows[i * 4 + q];
                for (unsigned b = 0; b < 8 && q * 8 + b < w; ++b) {
                    const unsigned c = eight >> (8 * b) & 255;
                    if (digits) {
                        fnv.byte('0' + c);
                    } else {
                        if (q * 8 + b > 0) fnv.byte(',');
                        fnv.integer(i8(c));
                    }
                }
            }
            if (!digits) fnv.text("]}");
        }
        if (digits) {
            fnv.text("\"}");
        } else {
            fnv.text("]}");
        }
        out[n] = make_uint2(unsigned(fnv.hash), unsigned(fnv.hash >> 32));
    }
}
