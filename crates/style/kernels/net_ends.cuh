// The 9 x 9 layers at both ends in f16. Both become products over 9 rows of values: the first takes the 27 values of a
// row of its window as channels, the last gives the 27 products of a column, which are then added along the row.
// See src/kernels/net_first.rs and src/kernels/net_last.rs.
#pragma once
#include "net_f16.cuh"

namespace net {

// Twin of `Tile` in src/kernels/net_first.rs.
template <int COUT_, int TH_, int WM_>
struct First {
    static constexpr int COUT = COUT_, NB = COUT_, TH = TH_, TW = 16, WM = WM_, WN = 1, WK = 1, PHASES = 1;
    static constexpr int WARPS = WM, THREADS = 32 * WARPS;
    static constexpr int MR = TH / WM, NR = NB / 8;
    // Pixels have four values, the last of them 0; two copies, one pixel apart, so that every pixel begins at a
    // multiple of 16 bytes in one of them, and half of all banks apart. A window of 9 pixels is read as 12.
    static constexpr int ROWS = TH + 8, COLS = TW + 12, ROW_BYTES = COLS * 8, COPY_BYTES = ROWS * ROW_BYTES + 64;
    static constexpr int STEPS = 27;
    static constexpr int WEIGHT_BYTES = STEPS * NB * 32;
    static constexpr int OUT_PITCH = NB * 2 + 16;
    static constexpr int OUT_BYTES = TH * TW * OUT_PITCH;
    static constexpr int SHARED = WEIGHT_BYTES + (2 * COPY_BYTES > OUT_BYTES ? 2 * COPY_BYTES : OUT_BYTES);
    static_assert(ROW_BYTES % 16 == 0, "aligned");
};

template <typename B, typename Sample>
__device__ __forceinline__ void first(const Sample* __restrict__ x, const uint4* __restrict__ weights,
                                      __half* __restrict__ y, const Statistics& stats, const LayerParams& p,
                                      int first_tile = 0) {
    constexpr int TH = B::TH, TW = B::TW;
    extern __shared__ __align__(16) unsigned char shared[];
    unsigned char* packed = shared;
    unsigned char* copies = shared + B::WEIGHT_BYTES;
    const int tile = blockIdx.x + first_tile, n = blockIdx.z, ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    for (int i = threadIdx.x; i < B::WEIGHT_BYTES / 16; i += B::THREADS) copy_16_async(packed + i * 16, weights + i);
    commit_copies();
    stats.clear(n);
#pragma unroll 4
    for (int i = threadIdx.x; i < B::ROWS * B::COLS; i += B::THREADS) {
        const int r = i / B::COLS, c = i % B::COLS;
        const int sy = continued(reflected(ty * TH + r - 4, p.ho), p.h);
        const int sx = continued(reflected(tx * TW + c - 4, p.wo), p.w);
        __half2 pixel[2];
        pixel[0] = to_halves(sample(x, p, n, sy, sx, 0), sample(x, p, n, sy, sx, 1));
        pixel[1] = to_halves(sample(x, p, n, sy, sx, 2), 0.0f);
        uint2 bits;
        bits.x = *reinterpret_cast<const unsigned*>(&pixel[0]), bits.y = *reinterpret_cast<const unsigned*>(&pixel[1]);
        unsigned char* to = copies + r * B::ROW_BYTES + c * 8;
        *reinterpret_cast<uint2*>(to) = bits;
        // In the other copy pixel c lies where c - 1 lies here; the last place is never part of a window that counts.
        if (c > 0) *reinterpret_cast<uint2*>(to + B::COPY_BYTES - 8) = bits;
        if (c == B::COLS - 1) *reinterpret_cast<uint2*>(to + B::COPY_BYTES) = make_uint2(0, 0);
    }
    wait_copies<0>();
    __syncthreads();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sums[B::MR][B::NR][4] = {};
    const int px = lane % 16;
    const unsigned at = shared_address(copies) + px % 2 * B::COPY_BYTES + (px - px % 2) * 8 + lane / 16 * 16 +
                        warp * B::MR * B::ROW_BYTES;
    const uint4* b = reinterpret_cast<const uint4*>(packed) + lane;
#pragma unroll 3
    for (int step = 0; step < B::STEPS; step++) {
        unsigned a[B::MR][4];
#pragma unroll
        for (int m = 0; m < B::MR; m++) load_matrices(a[m], at + (m + step / 3) * B::ROW_BYTES + step % 3 * 32);
#pragma unroll
        for (int i = 0; i < B::NR / 2; i++) {
            const uint4 two = b[(step * (B::NB / 16) + i) * 32];
#pragma unroll
            for (int m = 0; m < B::MR; m++) {
                multiply(sums[m][2 * i], a[m], two.x, two.y);
                multiply(sums[m][2 * i + 1], a[m], two.z, two.w);
            }
        }
    }
    __syncthreads();
    finish_tile<B>(sums, min(TH, p.ho - ty * TH), min(TW, p.wo - tx * TW), stats, p, copies, y, 0,
                   [&](int r, int c) { return (int64(n) * p.ho + ty * TH + r) * p.wo + tx * TW + c; });
}

// Twin of `Tile` in src/kernels/net_last.rs.
template <int CIN_, int TH_, int TW_>
struct Last {
    static constexpr int CIN = CIN_, TH = TH_, TW = TW_;  // TW: columns of input, 8 more than of output
    // A warp makes two rows of PX pixels, so that it reads an input row once for both.
    static constexpr int PX = 32, WARPS = TH / 2 * (TW / PX), THREADS = 32 * WARPS, OUT = TW - 8;
    static constexpr int ROWS = TH + 8, PITCH = CIN * 2 + 16, NB = 32, PARTS = CIN / 16;
    static constexpr int WEIGHT_BYTES = 9 * PARTS * NB * 32;
    static constexpr int INPUT_BYTES = ROWS * TW * PITCH;
    static constexpr int SUM_PITCH = 29;  // floats; odd, so that rows meet all banks
    static constexpr int SUM_BYTES = TH * TW * SUM_PITCH * 4;
    static constexpr int SHARED = WEIGHT_BYTES + (INPUT_BYTES > SUM_BYTES ? INPUT_BYTES : SUM_BYTES);
};

template <typename B, typename Sample>
__device__ __forceinline__ void last(const __half* __restrict__ x, const uint4* __restrict__ weights,
                                     const float* __restrict__ bias, unsigned* flag, Sample* __restrict__ out,
                                     const Statistics& stats, const LayerParams& p,
                                      int first_tile = 0) {
    constexpr int TH = B::TH, TW = B::TW;
    extern __shared__ __align__(16) unsigned char shared[];
    unsigned char* packed = shared;
    unsigned char* input = shared + B::WEIGHT_BYTES;
    const int tile = blockIdx.x + first_tile, n = blockIdx.z, ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    // Nobody counts any more; the next run begins at 0.
    if (tile == 0 && n == 0 && threadIdx.x == 0) *flag = *stats.saturated, *stats.saturated = 0;
    constexpr int UNITS = B::CIN / 8, AT_ONCE = B::THREADS / UNITS;
    const int unit = threadIdx.x % UNITS;
    const __half* image = x + int64(n) * p.h * p.w * B::CIN + unit * 8;
    for (int i = threadIdx.x; i < B::WEIGHT_BYTES / 16; i += B::THREADS) copy_16_async(packed + i * 16, weights + i);
    for (int pixel = threadIdx.x / UNITS; pixel < B::ROWS * TW; pixel += AT_ONCE) {
        const int sy = reflected(ty * TH + pixel / TW - 4, p.h), sx = reflected(tx * B::OUT + pixel % TW - 4, p.w);
        copy_16_async(input + pixel * B::PITCH + unit * 16, image + int64(sy * p.w + sx) * B::CIN);
    }
    commit_copies();
    __shared__ __align__(16) Affine merged[B::CIN];
    stats.prepare<B::CIN>(merged, p, n);
    __syncthreads();
    Affine8 a;
    a.read(merged + unit * 8);
    wait_copies<0>();
#pragma unroll 4
    for (int pixel = threadIdx.x / UNITS; pixel < B::ROWS * TW; pixel += AT_ONCE) {
        uint4* to = reinterpret_cast<uint4*>(input + pixel * B::PITCH + unit * 16);
        Eight v;
        v.bits = *to;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 two = __half22float2(v.pair[i]);
            v.pair[i] = to_positive_halves(fmaf(two.x, a.scale[2 * i], a.shift[2 * i]),
                                           fmaf(two.y, a.scale[2 * i + 1], a.shift[2 * i + 1]));
        }
        *to = v.bits;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int MR = B::PX / 16;
    const int row0 = warp / (TW / B::PX) * 2, column0 = warp % (TW / B::PX) * B::PX;
    float sums[2][MR][4][4] = {};
    const unsigned at = shared_address(input) + (row0 * TW + column0 + lane % 16) * B::PITCH + lane / 16 * 16;
    const uint4* b = reinterpret_cast<const uint4*>(packed) + lane;
#pragma unroll
    for (int part = 0; part < B::PARTS; part++) {
        uint4 before[2] = {};
#pragma unroll
        for (int r = 0; r < 10; r++) {
            unsigned a[MR][4];
            uint4 now[2] = {};
#pragma unroll
            for (int m = 0; m < MR; m++) load_matrices(a[m], at + (m * 16 + r * TW) * B::PITCH + part * 32);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                if (r < 9) now[i] = b[((B::PARTS * r + part) * 2 + i) * 32];
#pragma unroll
                for (int m = 0; m < MR; m++) {
                    if (r < 9) {
                        multiply(sums[0][m][2 * i], a[m], now[i].x, now[i].y);
                        multiply(sums[0][m][2 * i + 1], a[m], now[i].z, now[i].w);
                    }
                    if (r > 0) {
                        multiply(sums[1][m][2 * i], a[m], before[i].x, before[i].y);
                        multiply(sums[1][m][2 * i + 1], a[m], before[i].z, before[i].w);
                    }
                }
            }
            before[0] = now[0], before[1] = now[1];
        }
    }
    __syncthreads();
    float* columns = reinterpret_cast<float*>(input);
#pragma unroll
    for (int j = 0; j < 2 * MR * 16; j++) {
        const int r = j / (MR * 16), m = j / 16 % MR, i = j / 4 % 4, k = j % 4;
        const int pixel = (row0 + r) * TW + column0 + m * 16 + lane / 4 + k / 2 * 8;
        const int product = i * 8 + lane % 4 * 2 + k % 2;
        if (product < 27) columns[pixel * B::SUM_PITCH + product] = sums[r][m][i][k];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < TH * B::OUT * 3; i += B::THREADS) {
        const int channel = i % 3, c = i / 3 % B::OUT, r = i / 3 / B::OUT;
        const int oy = ty * TH + r, ox = tx * B::OUT + c;
        float sum = bias[channel];
#pragma unroll
        for (int v = 0; v < 9; v++) sum += columns[(r * TW + c + v) * B::SUM_PITCH + v * 3 + channel];
        if (oy < p.ho && ox < p.wo) deliver(out, p, n, oy, ox, channel, sum);
    }
}

}  // namespace net
