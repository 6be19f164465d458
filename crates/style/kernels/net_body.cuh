// The 3 x 3 layers in f16: input normalised and rounded while it is loaded, product on tensor cores, raw output.
// See src/kernels/net_body.rs.
#pragma once
#include "net_f16.cuh"

namespace net {

constexpr int max3(int a, int b, int c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

enum Kind { SAME, DOWN, UP };

// Shape of the work of one block: TH x 16 outputs (for UP: inputs) by NB channels, by WM x WN x WK warps along rows,
// channels and products. Twin of `Tile` in src/kernels/net_body.rs.
template <Kind KIND, int CIN_, int COUT_, int TH_, int NB_, int WM_, int WN_, int WK_, int STAGE_STEPS_>
struct Body {
    static constexpr int CIN = CIN_, COUT = COUT_, TH = TH_, NB = NB_, WM = WM_, WN = WN_, WK = WK_;
    static constexpr int TW = 16;
    static constexpr int PHASES = KIND == UP ? 4 : 1;  // outputs of an input, each by warps of its own
    static constexpr int WARPS = WM * WN * WK * PHASES, THREADS = 32 * WARPS;
    static constexpr int STRIDE = KIND == DOWN ? 2 : 1;
    static constexpr int ROWS = KIND == DOWN ? 2 * TH + 1 : TH + 2;
    static constexpr int COLS = KIND == DOWN ? 2 * TW + 1 : TW + 2;
    static constexpr int PITCH = CIN * 2 + 16;  // bytes of a pixel; odd in units of 16, so that rows meet all banks
    static constexpr int TAPS = KIND == UP ? 4 : 9;
    static constexpr int STEPS = TAPS * CIN / 16;  // of 16 input channels
    static constexpr int STEPS_A_STAGE = CIN / 16 < STAGE_STEPS_ ? CIN / 16 : STAGE_STEPS_;
    static constexpr int STAGES = STEPS / STEPS_A_STAGE;
    static constexpr int STEP_BYTES = PHASES * NB * 32;
    static constexpr int STAGE_BYTES = STEPS_A_STAGE * STEP_BYTES;
    static constexpr int RING = 3;
    static constexpr int MR = TH / WM;      // rows of 16 pixels a warp
    static constexpr int NR = NB / WN / 8;  // columns of 8 channels a warp
    static constexpr int INPUT_BYTES = ROWS * COLS * PITCH;
    static constexpr int OUT_PITCH = NB * 2 + 16;
    static constexpr int OUT_BYTES = PHASES * TH * TW * OUT_PITCH;
    static constexpr int REDUCE_BYTES = (WK - 1) * THREADS / WK * MR * NR * 16;
    static constexpr int SHARED = max3(INPUT_BYTES, OUT_BYTES, REDUCE_BYTES) + RING * STAGE_BYTES;
    static_assert(TH % WM == 0 && NB % (16 * WN) == 0 && COUT % NB == 0 && CIN % 16 == 0, "shapes divide");
    static_assert(STEPS_A_STAGE % WK == 0 && CIN / 16 % STEPS_A_STAGE == 0, "a step for every group of warps");
    static_assert(THREADS >= CIN, "a thread for every channel");
};

template <Kind KIND, typename B>
__device__ __forceinline__ void body(const __half* __restrict__ x, const __half* __restrict__ previous,
                                     __half* __restrict__ kept, const uint4* __restrict__ weights,
                                     __half* __restrict__ y, const Statistics& stats, const LayerParams& p,
                                     int first_tile = 0) {
    constexpr int CIN = B::CIN, TH = B::TH, TW = B::TW, NB = B::NB;
    extern __shared__ __align__(16) unsigned char shared[];
    __shared__ __align__(16) Affine merged[CIN];
    unsigned char* ring = shared;
    unsigned char* input = shared + B::RING * B::STAGE_BYTES;

    const int tile = blockIdx.x + first_tile, block_n = blockIdx.y, n = blockIdx.z;
    const int ty = tile / p.tiles_x, tx = tile % p.tiles_x;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wm = warp % B::WM, wn = warp / B::WM % B::WN;
    const int phase = warp / (B::WM * B::WN) % B::PHASES, wk = warp / (B::WM * B::WN * B::PHASES);
    const unsigned char* packed =
        reinterpret_cast<const unsigned char*>(weights) + int64(block_n) * B::STEPS * B::STEP_BYTES;

    const auto fetch = [&](int stage) {
        if (stage < B::STAGES) {
            unsigned char* to = ring + stage % B::RING * B::STAGE_BYTES;
            const unsigned char* from = packed + int64(stage) * B::STAGE_BYTES;
            constexpr int ALL = B::THREADS * 16;
#pragma unroll
            for (int i = 0; i < (B::STAGE_BYTES + ALL - 1) / ALL; i++) {
                const int at = i * ALL + threadIdx.x * 16;
                if (B::STAGE_BYTES % ALL == 0 || at < B::STAGE_BYTES) copy_16_async(to + at, from + at);
            }
        }
        commit_copies();
    };
    // The input tile, as it is: all of it under way at once. A thread later normalises what it has copied.
    constexpr int UNITS = CIN / 8, AT_ONCE = B::THREADS / UNITS;
    static_assert(B::THREADS % UNITS == 0, "a thread keeps its channels");
    const int unit = threadIdx.x % UNITS;
    const int y0 = ty * TH * B::STRIDE - 1, x0 = tx * TW * B::STRIDE - 1;
    const int64 skip = int64(n) * p.h * p.w * CIN + unit * 8;
    const auto source = [&](int pixel, int& gy, int& gx) {
        gy = y0 + pixel / B::COLS, gx = x0 + pixel % B::COLS;
        // The reflection of an upsampled image is the edge of its source.
        const int sy = KIND == UP ? clamped(gy, p.h) : reflected(gy, p.h);
        const int sx = KIND == UP ? clamped(gx, p.w) : reflected(gx, p.w);
        return skip + int64(sy * p.w + sx) * CIN;
    };
    const auto place = [&](int pixel) {
        const int c = pixel % B::COLS;
        // Even and odd columns apart, so that every second column makes a run of rows.
        const int at = KIND == DOWN ? pixel - c + (c & 1) * (TW + 1) + (c >> 1) : pixel;
        return input + at * B::PITCH + unit * 16;
    };
#pragma unroll
    for (int i = 0; i < B::RING - 1; i++) fetch(i);
    for (int pixel = threadIdx.x / UNITS; pixel < B::ROWS * B::COLS; pixel += AT_ONCE) {
        int gy, gx;
        const int64 from = source(pixel, gy, gx);
        copy_16_async(place(pixel), x + from);
    }
    commit_copies();
    stats.prepare<CIN>(merged, p, n);
    __syncthreads();
    {
        Affine8 a;
        a.read(merged + unit * 8);
        // Layers that reduce never end a residual block.
        const bool relu = p.flags & RELU, add = KIND != DOWN && (p.flags & ADD);
        const bool keep = KIND == SAME && (p.flags & KEEP) && block_n == 0;
        constexpr int MINE = (B::ROWS * B::COLS + AT_ONCE - 1) / AT_ONCE;
        // What is added, under way beside the tile itself.
        uint4 carried[KIND == DOWN ? 1 : MINE];
        if (add) {
#pragma unroll
            for (int i = 0; i < (KIND == DOWN ? 0 : MINE); i++) {
                const int pixel = threadIdx.x / UNITS + i * AT_ONCE;
                int gy, gx;
                if (pixel < B::ROWS * B::COLS) {
                    carried[i] = __ldcg(reinterpret_cast<const uint4*>(previous + source(pixel, gy, gx)));
                }
            }
        }
        wait_copies<0>();
#pragma unroll
        for (int j = 0; j < MINE; j++) {
            const int pixel = threadIdx.x / UNITS + j * AT_ONCE;
            if (pixel >= B::ROWS * B::COLS) break;
            uint4* to = reinterpret_cast<uint4*>(place(pixel));
            Eight v, before;
            int gy = 0, gx = 0;
            int64 from = 0;
            if (keep) from = source(pixel, gy, gx);
            before.bits = make_uint4(0, 0, 0, 0);
            if (add) before.bits = carried[KIND == DOWN ? 0 : j];
            v.bits = *to;
            bool beyond = false;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float2 two = __half22float2(v.pair[i]), old = __half22float2(before.pair[i]);
                float l = fmaf(two.x, a.scale[2 * i], a.shift[2 * i]);
                float r = fmaf(two.y, a.scale[2 * i + 1], a.shift[2 * i + 1]);
                if (add) l += old.x, r += old.y;
                if (keep) beyond |= !(fmaxf(fabsf(l), fabsf(r)) < LARGEST);
                v.pair[i] = relu ? to_positive_halves(l, r) : to_halves(l, r);
            }
            *to = v.bits;
            // Every pixel is kept by the one block that owns it.
            const int r = pixel / B::COLS, c = pixel % B::COLS;
            if (keep && r >= 1 && r <= TH && c >= 1 && c <= TW && gy < p.h && gx < p.w) {
                *reinterpret_cast<uint4*>(kept + from) = v.bits;
                if (beyond) atomicAdd(stats.saturated, 1u);
            }
        }
    }

    // Row address of this lane in the matrices of a step: pixels 0..15 of a row, then eight channels on.
    const unsigned input_at = shared_address(input) + lane / 16 * 16;
    const int lane_pixel = lane % 16;
    float sums[B::MR][B::NR][4] = {};
#pragma unroll 1
    for (int stage = 0; stage < B::STAGES; stage++) {
        wait_copies<B::RING - 2>();
        __syncthreads();
        fetch(stage + B::RING - 1);
        constexpr int PARTS = CIN / 16 / B::STEPS_A_STAGE;
        const int tap = stage / PARTS, part = stage % PARTS;
        const int u = KIND == UP ? tap / 2 + phase / 2 : tap / 3, v = KIND == UP ? tap % 2 + phase % 2 : tap % 3;
        const int column = KIND == DOWN ? (v & 1) * (TW + 1) + (v >> 1) : v;
        unsigned at[B::MR];
#pragma unroll
        for (int m = 0; m < B::MR; m++) {
            const int row = (wm * B::MR + m) * B::STRIDE + u;
            at[m] = input_at + (row * B::COLS + column + lane_pixel) * B::PITCH + part * B::STEPS_A_STAGE * 32;
        }
        const uint4* b = reinterpret_cast<const uint4*>(ring + stage % B::RING * B::STAGE_BYTES) +
                         (phase * (NB / 16) + wn * (NB / B::WN / 16)) * 32 + lane;
#pragma unroll
        for (int s = 0; s < B::STEPS_A_STAGE / B::WK; s++) {
            const int step = s * B::WK + wk;
            unsigned a[B::MR][4];
#pragma unroll
            for (int m = 0; m < B::MR; m++) load_matrices(a[m], at[m] + step * 32);
#pragma unroll
            for (int i = 0; i < B::NR / 2; i++) {
                const uint4 two = b[step * (B::STEP_BYTES / 16) + i * 32];
#pragma unroll
                for (int m = 0; m < B::MR; m++) {
                    multiply(sums[m][2 * i], a[m], two.x, two.y);
                    multiply(sums[m][2 * i + 1], a[m], two.z, two.w);
                }
            }
        }
    }

    if constexpr (B::WK > 1) {
        // Sums of the other groups of warps, in their order.
        float4* others = reinterpret_cast<float4*>(input);
        constexpr int GROUP = B::THREADS / B::WK, EACH = B::MR * B::NR;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const float(&own)[4] = sums[i / B::NR][i % B::NR];
            if (wk > 0) {
                others[((wk - 1) * EACH + i) * GROUP + threadIdx.x % GROUP] =
                    make_float4(own[0], own[1], own[2], own[3]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int w = 0; w < B::WK - 1; w++)
#pragma unroll
            for (int i = 0; i < EACH; i++)
                if (wk == 0) {
                    const float4 other = others[(w * EACH + i) * GROUP + threadIdx.x];
                    float(&own)[4] = sums[i / B::NR][i % B::NR];
                    own[0] += other.x, own[1] += other.y, own[2] += other.z, own[3] += other.w;
                }
    }
    __syncthreads();
    const int source_h = KIND == UP ? p.h : p.ho, source_w = KIND == UP ? p.w : p.wo;
    constexpr int UP2 = KIND == UP ? 2 : 1;
    finish_tile<B>(sums, min(TH, source_h - ty * TH), min(TW, source_w - tx * TW), stats, p, input, y, block_n,
                   [&](int r, int c) {
                       return (int64(n) * p.ho + UP2 * ty * TH + r) * p.wo + UP2 * tx * TW + c;
                   });
}

}  // namespace net

// One kernel: name, kind, channels in and out, rows and channels of a block, warps along rows, channels and products,
// steps of a stage, blocks that should share a multiprocessor.
#define NET_BODY(NAME, KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS, RESIDENT)                                         \
    extern "C" __global__ void                                                                                       \
        __launch_bounds__(net::Body<net::KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS>::THREADS, RESIDENT)             \
            NAME(const __half* x, const net::Sums* in, const float2* gamma_beta, const __half* previous,             \
                 __half* kept, const uint4* weights, __half* y, net::Sums* out, net::Sums* old,                      \
                 unsigned* saturated, net::LayerParams p) {                                                          \
        net::body<net::KIND, net::Body<net::KIND, CIN, COUT, TH, NB, WM, WN, WK, STEPS>>(                            \
            x, previous, kept, weights, y, net::Statistics{in, gamma_beta, out, old, saturated}, p);                 \
    }
