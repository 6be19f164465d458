// What the kernels of products share: tiles of a warp, right operands, and what becomes of the sums.
#pragma once
#include "ata.cuh"

struct ApplyParams {
    unsigned frames, frames_pad, channels, n, n_pad, strips, blocks, mode, cast;
    float alpha, beta;
};

enum Mode { kStore, kQuad, kResidual };

// Pointers of a product; exponents and pieces are those of cast vectors, plain is x as it was given.
struct Operands {
    const int* matrix_exponents;
    const int* exponents;
    const float* plain;
    const float* b;
    float* y;
    double* partials;
};

// A row of the strip a lane, of one frame: writes y, or this strip's share of the figures.
__device__ __forceinline__ void finish(const ApplyParams& p, const Operands& o, unsigned strip, unsigned c,
                                       unsigned frame, float sum) {
    if (frame >= p.frames) return;
    const unsigned row = strip * 32 + threadIdx.x % 32;
    const u64 line = u64(frame) * p.channels + c, at = line * p.n + row;
    const int exponent = o.matrix_exponents[c] + (p.cast ? o.exponents[line] : 0);
    const float v = scaled(sum, -exponent);
    if (p.mode == kStore) {
        if (row < p.n) o.y[at] = p.beta == 0.0f ? p.alpha * v : fmaf(p.beta, o.y[at], p.alpha * v);
        return;
    }
    double first = 0, second = 0;
    if (row < p.n) {
        const double x = o.plain[at];
        if (p.mode == kQuad) {
            first = x * double(v);
        } else {
            const float right = o.b[at], g = v - right;
            o.y[at] = g;
            first = double(g) * double(g);
            second = x * (double(g) - double(right));
        }
    }
    const u64 to = line * p.strips + strip;
    first = lockstep::warp_sum(first);
    if (p.mode == kQuad) {
        if (threadIdx.x % 32 == 0) o.partials[to] = first;
        return;
    }
    second = lockstep::warp_sum(second);
    if (threadIdx.x % 32 == 0) o.partials[2 * to] = first, o.partials[2 * to + 1] = second;
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

// Adds the parts of a strip in order, and finishes; a warp a part.
__device__ __forceinline__ void finish_strip(const ApplyParams& p, const Operands& o,
                                             const float (&parts)[kParts][32][kGroup]) {
    __syncthreads();
    const unsigned row = threadIdx.x % 32, f = threadIdx.x / 32;
    float sum = parts[0][row][f];
    for (unsigned part = 1; part < kParts; ++part) sum += parts[part][row][f];
    finish(p, o, blockIdx.x, blockIdx.y, blockIdx.z * kGroup + f, sum);
}

// A frame and channel of x as it was given; elements behind the last, and frames behind the last, are 0.
struct Line {
    const float* at;
    unsigned n;
    bool in_pairs;

    __device__ __forceinline__ Line(const ApplyParams& p, const float* __restrict__ x, unsigned frame, unsigned c)
        : at(x + (u64(frame) * p.channels + c) * p.n), n(frame < p.frames ? p.n : 0) {
        in_pairs = n % 2 == 0 && lockstep::in_packs<float, 2>(at);
    }
    __device__ __forceinline__ float one(unsigned i) const { return i < n ? at[i] : 0.0f; }
    // Elements i and i + 1, i even.
    __device__ __forceinline__ float2 two(unsigned i) const {
        if (in_pairs) return i < n ? *reinterpret_cast<const float2*>(at + i) : make_float2(0.0f, 0.0f);
        return make_float2(one(i), one(i + 1));
    }
};
