// The layers of the network in f32, for any number of channels (multiples of 32): a thread sums 8 pixels by 8 channels, one
// fused multiply-add after the other in the order channel, row, column of the window (in the first layer, row by row, and
// with compensation), as the CPU twin does. Channels lie last. See src/kernels/net_first.rs, net_body.rs and net_last.rs.
#pragma once
#include "net_fold.cuh"

namespace net {

// What the consumer applies: (x - mean) * scale + shift. Exact where all values are equal, however small their variance.
struct Centred {
    float mean, scale, shift;
    __device__ __forceinline__ float operator()(float x) const { return fmaf(x - mean, scale, shift); }
};

enum Kind { SAME, DOWN, UP };

// Input channels at a time.
constexpr int THREADS = 128, CHUNK = 8;
// Floats that `finish` works in: moments of 8 channels of each thread, or the sums of `merge`.
constexpr int WORK = 2 * 8 * THREADS;
static_assert(WORK * sizeof(float) >= 5 * THREADS * sizeof(double), "room for the merge");

// The last 8 pixels by 8 channels of a thread: pixels lie in one row, channels 4 tc and NB / 2 + 4 tc on.
template <int NB>
struct Share {
    static constexpr int GROUPS = NB / 8, TH = 8192 / NB / 16;
    int tc, tp, row, column;
    __device__ __forceinline__ Share()
        : tc(threadIdx.x % GROUPS), tp(threadIdx.x / GROUPS), row(tp / 2), column(tp % 2 * 8) {}
    __device__ __forceinline__ int channel(int k) const { return k / 4 * (NB / 2) + tc * 4 + k % 4; }

    // sums += the products of 8 pixels, STRIDE apart, with the weights of one tap.
    template <int STRIDE, int N>
    __device__ __forceinline__ void add(float (&sums)[8][8], const float (&x)[N], int v, const float* weights) const {
        float w[8];
        *reinterpret_cast<float4*>(w) = *reinterpret_cast<const float4*>(weights + tc * 4);
        *reinterpret_cast<float4*>(w + 4) = *reinterpret_cast<const float4*>(weights + NB / 2 + tc * 4);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int k = 0; k < 8; k++) sums[i][k] = fmaf(x[i * STRIDE + v], w[k], sums[i][k]);
    }
};

// Where statistics and coefficients of all images go; blocks of NB channels are finished alone.
struct Results {
    Moments* partial;   // [n][cout / NB][parts][NB]
    float4* grouped;    // [n][cout / NB][groups][NB]
    unsigned* tickets;  // [n][cout / NB][groups + 1]
    const float2* gamma_beta;
    Centred* out;       // [n][cout]
};

// Writes the raw values, and publishes the statistics.
//   rows, cols: what of the tile lies inside; work: shared memory; pixel_at(r, c): place in y; part, size: see publish.
template <int NB, typename Pixel, typename Size>
__device__ __forceinline__ void finish(const float (&sums)[8][8], const Share<NB>& share, int rows, int cols,
                                       unsigned char* work, float* __restrict__ y, const Results& results,
                                       const LayerParams& p, int part, int parts, Pixel pixel_at, Size size) {
    const int n = blockIdx.z, blocks = p.cout / NB, block = blockIdx.y % blocks;
    const int mine = share.row < rows ? max(0, min(8, cols - share.column)) : 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (i < mine) {
            float* to = y + pixel_at(share.row, share.column + i) * p.cout + block * NB + share.tc * 4;
            *reinterpret_cast<float4*>(to) = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
            *reinterpret_cast<float4*>(to + NB / 2) = make_float4(sums[i][4], sums[i][5], sums[i][6], sums[i][7]);
        }
    }
    constexpr int SHARES = THREADS / Share<NB>::GROUPS;
    Moments* of_shares = reinterpret_cast<Moments*>(work);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 8; k++) {
        // Deviations from the first pixel, so that a common offset costs no digits.
        const float pivot = sums[0][k];
        float one = 0, two = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float d = sums[i][k] - pivot;
            if (i < mine) one += d, two = fmaf(d, d, two);
        }
        const float shift = mine > 0 ? one / float(mine) : 0;
        of_shares[share.tp * NB + share.channel(k)] = {pivot + shift, fmaxf(two - one * shift, 0.0f)};
    }
    __syncthreads();
    const int64 image = int64(n) * blocks + block;
    const Statistics stats = {results.partial + image * parts * NB, results.grouped + image * p.groups * NB,
                              results.tickets + image * (p.groups + 1)};
    if (threadIdx.x < NB) {
        float count = 0, mean = 0, m2 = 0;
        for (int s = 0; s < SHARES; s++) {
            const int k = s / 2 < rows ? max(0, min(8, cols - s % 2 * 8)) : 0;
            append(count, mean, m2, float(k), of_shares[s * NB + threadIdx.x]);
        }
        stats.partial[int64(part) * NB + threadIdx.x] = {mean, m2};
    }
    publish<NB, THREADS>(p, stats, reinterpret_cast<double*>(work), part, parts, 1, size,
                         [&](int c, double k, double mean, double m2) {
                             c += block * NB;
                             const float2 g = results.gamma_beta[c];
                             const double scale = g.x / sqrt(m2 / k + double(p.eps));
                             results.out[int64(n) * p.cout + c] = {float(mean), float(scale), g.y};
                         });
}

template <Kind KIND, int NB>
struct Body {
    static constexpr int TH = Share<NB>::TH, TW = 16, STRIDE = KIND == DOWN ? 2 : 1;
    static constexpr int SIDE = KIND == UP ? 2 : 3, TAPS = SIDE * SIDE;
    static constexpr int ROWS = (TH - 1) * STRIDE + SIDE, COLS = (TW - 1) * STRIDE + SIDE;
    static constexpr int PITCH = KIND == DOWN ? 34 : 18;  // so that rows meet other banks
    static constexpr int PLANE = (ROWS * PITCH + 7) / 8 * 8 + 4;
    static constexpr int WEIGHTS = CHUNK * TAPS * NB;
};

template <Kind KIND, int NB>
__device__ __forceinline__ void body(const float* __restrict__ x, const Centred* __restrict__ norm,
                                     const float* __restrict__ previous, float* __restrict__ kept,
                                     const float4* __restrict__ weights, float* __restrict__ y, const Results& results,
                                     const LayerParams& p, int first_tile = 0) {
    using B = Body<KIND, NB>;
    constexpr int TH = B::TH, TW = B::TW;
    __shared__ __align__(16) float packed[B::WEIGHTS > WORK ? B::WEIGHTS : WORK];
    __shared__ __align__(16) float input[CHUNK * B::PLANE];
    const int n = blockIdx.z, tile = blockIdx.x + first_tile, ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    const int blocks = p.cout / NB, block = blockIdx.y % blocks, phase = blockIdx.y / blocks;
    const int y0 = ty * TH * B::STRIDE - 1 + (KIND == UP ? phase / 2 : 0);
    const int x0 = tx * TW * B::STRIDE - 1 + (KIND == UP ? phase % 2 : 0);
    const bool relu = p.flags & RELU, add = p.flags & ADD, keep = (p.flags & KEEP) && block == 0;
    const Share<NB> share;
    float sums[8][8] = {};
    const float4* from = weights + int64(blockIdx.y) * (p.cin / CHUNK) * (B::WEIGHTS / 4);
    // Wide loads reach over the ends of rows; what they bring is not used.
    for (int i = threadIdx.x; i < CHUNK * B::PLANE; i += THREADS) {
        const int at = i % B::PLANE;
        if (at % B::PITCH >= B::COLS || at >= B::ROWS * B::PITCH) input[i] = 0;
    }
    for (int chunk = 0; chunk < p.cin; chunk += CHUNK, from += B::WEIGHTS / 4) {
        __syncthreads();
        for (int i = threadIdx.x; i < B::WEIGHTS / 4; i += THREADS) reinterpret_cast<float4*>(packed)[i] = __ldg(from + i);
        const int half = threadIdx.x % 2, first = chunk + half * 4;
        Centred apply[4];
#pragma unroll
        for (int k = 0; k < 4; k++) apply[k] = norm[int64(n) * p.cin + first + k];
        for (int pixel = threadIdx.x / 2; pixel < B::ROWS * B::COLS; pixel += THREADS / 2) {
            const int r = pixel / B::COLS, c = pixel % B::COLS, gy = y0 + r, gx = x0 + c;
            // The reflection of an upsampled image is the edge of its source.
            const int sy = KIND == UP ? clamped(gy, p.h) : reflected(gy, p.h);
            const int sx = KIND == UP ? clamped(gx, p.w) : reflected(gx, p.w);
            const int64 at = (int64(n) * p.h * p.w + int64(sy) * p.w + sx) * p.cin + first;
            float v[4], old[4] = {};
            *reinterpret_cast<float4*>(v) = __ldg(reinterpret_cast<const float4*>(x + at));
            if (add) *reinterpret_cast<float4*>(old) = __ldg(reinterpret_cast<const float4*>(previous + at));
#pragma unroll
            for (int k = 0; k < 4; k++) {
                v[k] = apply[k](v[k]);
                if (add) v[k] += old[k];
                if (relu) v[k] = fmaxf(v[k], 0.0f);
                input[(half * 4 + k) * B::PLANE + r * B::PITCH + c] = v[k];
            }
            // Every pixel is kept by the one block that owns it.
            if (keep && r >= 1 && r <= TH && c >= 1 && c <= TW && gy < p.h && gx < p.w) {
                *reinterpret_cast<float4*>(kept + at) = *reinterpret_cast<const float4*>(v);
            }
        }
        __syncthreads();
#pragma unroll 1
        for (int c = 0; c < CHUNK; c++) {
#pragma unroll
            for (int u = 0; u < B::SIDE; u++) {
                constexpr int WIDE = 7 * B::STRIDE + B::SIDE;
                const float* row = input + c * B::PLANE + (share.row * B::STRIDE + u) * B::PITCH + share.column * B::STRIDE;
                float values[WIDE];
#pragma unroll
                for (int i = 0; i < WIDE; i++) values[i] = row[i];
#pragma unroll
                for (int v = 0; v < B::SIDE; v++) {
                    share.template add<B::STRIDE>(sums, values, v, packed + (c * B::TAPS + u * B::SIDE + v) * NB);
                }
            }
        }
    }
    constexpr int UP2 = KIND == UP ? 2 : 1, PHASES = UP2 * UP2;
    const int source_h = KIND == UP ? p.h : p.ho, source_w = KIND == UP ? p.w : p.wo;
    const int parts = p.tiles_x * p.tiles_y * PHASES;
    finish<NB>(
        sums, share, min(TH, source_h - ty * TH), min(TW, source_w - tx * TW), reinterpret_cast<unsigned char*>(packed),
        y, results, p, tile * PHASES + phase, parts,
        [&](int r, int c) {
            const int oy = UP2 * (ty * TH + r) + phase / 2, ox = UP2 * (tx * TW + c) + phase % 2;
            return (int64(n) * p.ho + oy) * p.wo + ox;
        },
        [&](int part) {
            const int t = part / PHASES;
            return float(min(TH, source_h - t / p.tiles_x * TH) * min(TW, source_w - t % p.tiles_x * TW));
        });
}

template <typename Sample>
__device__ __forceinline__ void first(const Sample* __restrict__ x, const float4* __restrict__ weights,
                                      float* __restrict__ y, const Results& results, const LayerParams& p,
                                      int first_tile = 0) {
    constexpr int NB = 32, TH = Share<NB>::TH, TW = 16, ROWS = TH + 8, COLS = TW + 8, PITCH = 34;
    constexpr int WEIGHTS = 243 * NB;
    __shared__ __align__(16) float packed[WEIGHTS];
    __shared__ float input[3 * ROWS * PITCH];
    const int n = blockIdx.z, tile = blockIdx.x + first_tile, ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    const float4* from = weights + int64(blockIdx.y) * (WEIGHTS / 4);
    for (int i = threadIdx.x; i < WEIGHTS / 4; i += THREADS) reinterpret_cast<float4*>(packed)[i] = __ldg(from + i);
    // Wide loads reach over the ends of rows; what they bring is not used.
    for (int i = threadIdx.x; i < 3 * ROWS * PITCH; i += THREADS) {
        if (i % PITCH >= COLS) input[i] = 0;
    }
    for (int i = threadIdx.x; i < ROWS * COLS; i += THREADS) {
        const int r = i / COLS, c = i % COLS;
        const int sy = continued(reflected(ty * TH + r - 4, p.ho), p.h);
        const int sx = continued(reflected(tx * TW + c - 4, p.wo), p.w);
#pragma unroll
        for (int k = 0; k < 3; k++) input[(k * ROWS + r) * PITCH + c] = sample(x, p, n, sy, sx, k);
    }
    __syncthreads();
    const Share<NB> share;
    float sums[8][8] = {};
    // Sums of a row, which begin with what rounding took from the sums before (Kahan): 243 products of up to 128 times
    // a weight lose too many digits one after the other.
    float part[8][8] = {};
#pragma unroll 1
    for (int cu = 0; cu < 27; cu++) {
        const float* row = input + (cu / 9 * ROWS + share.row + cu % 9) * PITCH + share.column;
        float values[16];
#pragma unroll
        for (int i = 0; i < 16; i++) values[i] = row[i];
#pragma unroll
        for (int v = 0; v < 9; v++) share.template add<1>(part, values, v, packed + (cu * 9 + v) * NB);
#pragma unroll
        for (int i = 0; i < 64; i++) {
            float &sum = sums[i / 8][i % 8], &row_sum = part[i / 8][i % 8];
            const float more = sum + row_sum;
            row_sum -= more - sum;
            sum = more;
        }
    }
    finish<NB>(
        sums, share, min(TH, p.ho - ty * TH), min(TW, p.wo - tx * TW), reinterpret_cast<unsigned char*>(packed), y,
        results, p, tile, p.tiles_x * p.tiles_y,
        [&](int r, int c) { return (int64(n) * p.ho + ty * TH + r) * p.wo + tx * TW + c; },
        [&](int t) {
            return float(min(TH, p.ho - t / p.tiles_x * TH) * min(TW, p.wo - t % p.tiles_x * TW));
        });
}

// A thread makes 8 pixels of a row in three colours.
template <typename Sample>
__device__ __forceinline__ void last(const float* __restrict__ x, const Centred* __restrict__ norm,
                                     const float4* __restrict__ weights, const float* __restrict__ bias,
                                     unsigned* saturated, unsigned* flag, Sample* __restrict__ out,
                                     const LayerParams& p, int first_tile = 0) {
    constexpr int TH = 32, TW = 32, ROWS = TH + 8, COLS = TW + 8, PITCH = 41, PLANE = ROWS * PITCH;
    constexpr int SOME = 4;  // channels at a time
    __shared__ float4 packed[SOME * 81];
    __shared__ float input[SOME * PLANE];
    const int n = blockIdx.z, tile = blockIdx.x + first_tile, ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    // Nothing counts in f32; the result can be trusted.
    if (tile == 0 && n == 0 && threadIdx.x == 0) *flag = *saturated, *saturated = 0;
    const int row = threadIdx.x / (TW / 8), column = threadIdx.x % (TW / 8) * 8;
    float sums[8][3] = {};
    for (int chunk = 0; chunk < p.cin; chunk += SOME) {
        __syncthreads();
        for (int i = threadIdx.x; i < SOME * 81; i += THREADS) packed[i] = __ldg(weights + chunk * 81 + i);
        Centred apply[SOME];
#pragma unroll
        for (int k = 0; k < SOME; k++) apply[k] = norm[int64(n) * p.cin + chunk + k];
        for (int pixel = threadIdx.x; pixel < ROWS * COLS; pixel += THREADS) {
            const int r = pixel / COLS, c = pixel % COLS;
            const int sy = reflected(ty * TH + r - 4, p.h), sx = reflected(tx * TW + c - 4, p.w);
            float v[SOME];
            *reinterpret_cast<float4*>(v) = __ldg(
                reinterpret_cast<const float4*>(x + (int64(n) * p.h * p.w + int64(sy) * p.w + sx) * p.cin + chunk));
#pragma unroll
            for (int k = 0; k < SOME; k++) input[k * PLANE + r * PITCH + c] = fmaxf(apply[k](v[k]), 0.0f);
        }
        __syncthreads();
#pragma unroll 1
        for (int cu = 0; cu < SOME * 9; cu++) {
            const float* from = input + cu / 9 * PLANE + (row + cu % 9) * PITCH + column;
            float values[16];
#pragma unroll
            for (int i = 0; i < 16; i++) values[i] = from[i];
#pragma unroll
            for (int v = 0; v < 9; v++) {
                const float4 w = packed[cu * 9 + v];
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    sums[i][0] = fmaf(values[i + v], w.x, sums[i][0]);
                    sums[i][1] = fmaf(values[i + v], w.y, sums[i][1]);
                    sums[i][2] = fmaf(values[i + v], w.z, sums[i][2]);
                }
            }
        }
    }
    const int oy = ty * TH + row;
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int k = 0; k < 3; k++) {
            const int ox = tx * TW + column + i;
            if (oy < p.ho && ox < p.wo) deliver(out, p, n, oy, ox, k, sums[i][k] + bias[k]);
        }
}

}  // namespace net
