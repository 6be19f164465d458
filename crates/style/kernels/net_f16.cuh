// The layers of the network in f16: products on tensor cores with f32 sums, raw output in f16. Channels lie last.
#pragma once
#include <cuda_fp16.h>

#include "net.cuh"
#include "tiles.cuh"

namespace net {

using namespace tiles;

// Coefficients of a normalisation that the consumer applies: x * scale + shift.
struct Affine {
    float scale, shift;
};

// What lies beyond is held at this end of the range of f16, and counted.
constexpr float LARGEST = 65504.0f;

// Two f16 nearest to x and y, held inside their range.
__device__ __forceinline__ __half2 to_halves(float x, float y) {
    const __half2 most = __float2half2_rn(LARGEST);
    return __hmax2(__hmin2(__floats2half2_rn(x, y), most), __hneg2(most));
}

// The same for max(x, 0) and max(y, 0).
__device__ __forceinline__ __half2 to_positive_halves(float x, float y) {
    unsigned bits;
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(y), "f"(x));
    return __hmin2(*reinterpret_cast<__half2*>(&bits), __float2half2_rn(LARGEST));
}

union Eight {
    uint4 bits;
    __half2 pair[4];
};

// Coefficients of eight channels.
struct Affine8 {
    float scale[8], shift[8];
    __device__ __forceinline__ void read(const Affine* from) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 two = reinterpret_cast<const float4*>(from)[i];
            scale[2 * i] = two.x, shift[2 * i] = two.y, scale[2 * i + 1] = two.z, shift[2 * i + 1] = two.w;
        }
    }
};

// Sums of a plane, in fixed point: whole numbers, so that the order in which blocks add theirs does not matter. Squares
// take two numbers, so that neither their range nor small variances beside large means are lost.
struct alignas(16) Sums {
    long long value, square, rest, unused;
};
// Sums of an image: so many copies of each channel's that blocks do not queue for one address. Twin of SUMS.
constexpr int SUMS = 256;
template <int C>
constexpr int COPIES = SUMS / C;
constexpr double FINER = 0x1p30;  // units of `rest` a unit of `square`

__device__ __forceinline__ void add_sums(Sums* to, double value, double square, const LayerParams& p) {
    const double units = square * p.out_square, whole = rint(units);
    const auto add = [](long long* at, double v) {
        atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(__double2ll_rn(v)));
    };
    add(&to->value, value * p.out_value);
    add(&to->square, whole);
    add(&to->rest, (units - whole) * FINER);
}

// What takes a plane of the input with these sums to gamma * normalised + beta.
template <int C>
__device__ __forceinline__ Affine coefficients(const Sums* at, float2 gamma_beta, const LayerParams& p) {
    longlong2 sums = {0, 0};
    long long finer = 0;
#pragma unroll 8
    for (int i = 0; i < COPIES<C>; i++) {
        const longlong2 two = __ldcg(reinterpret_cast<const longlong2*>(at + i * C));
        sums.x += two.x, sums.y += two.y, finer += __ldcg(&at[i * C].rest);
    }
    const double count = double(p.h) * p.w, exact = double(sums.x) * p.in_value / count;
    const double squares = (double(sums.y) + double(finer) / FINER) * p.in_square / count;
    float mean = float(exact);
    const float variance = float(fmax(squares - exact * exact, 0.0));
    // Where f16 cannot tell the values apart, their mean is taken as f16 has it: a flat plane becomes exactly beta.
    const float nearest = __half2float(__float2half_rn(mean)), error = nearest - mean;
    if (variance <= error * error) mean = nearest;
    const float scale = gamma_beta.x / sqrtf(variance + p.eps);
    return {scale, fmaf(-scale, mean, gamma_beta.y)};
}

// The statistics that a layer reads, writes, and clears.
struct Statistics {
    const Sums* in;             // [n][SUMS], of the layer before
    const float2* gamma_beta;   // [CIN]
    Sums* out;                  // [n][SUMS], zero before
    Sums* old;                  // [n][SUMS] that nobody reads any more, or null
    unsigned* saturated;        // tiles and channels that may have left the range of f16

    // Coefficients of an image's channels into shared memory, once a block; and the old sums become zero.
    template <int C>
    __device__ __forceinline__ void prepare(Affine* merged, const LayerParams& p, int n) const {
        if (threadIdx.x < C) {
            merged[threadIdx.x] = coefficients<C>(in + int64(n) * SUMS + threadIdx.x, gamma_beta[threadIdx.x], p);
        }
        clear(n);
    }
    __device__ __forceinline__ void clear(int n) const {
        if (old == nullptr || blockIdx.x != 0 || blockIdx.y != 0) return;
        for (int i = threadIdx.x; i < SUMS; i += blockDim.x) old[int64(n) * SUMS + i] = {0, 0, 0, 0};
    }
};

// One step of a sum over lanes: this lane keeps one half of its K channels and adds its partner's; a single channel is
// added on both sides. Gives where the kept half begins.
template <int LANES, int K, int N>
__device__ __forceinline__ int exchange(float (&one)[N], float (&two)[N], float (&pivot)[N]) {
    if constexpr (K == 1) {
        one[0] += __shfl_xor_sync(0xffffffffu, one[0], LANES);
        two[0] += __shfl_xor_sync(0xffffffffu, two[0], LANES);
        return 0;
    } else {
        constexpr int HALF = K / 2;
        const bool upper = threadIdx.x & LANES;
#pragma unroll
        for (int k = 0; k < HALF; k++) {
            const float give1 = upper ? one[k] : one[k + HALF], give2 = upper ? two[k] : two[k + HALF];
            one[k] = (upper ? one[k + HALF] : one[k]) + __shfl_xor_sync(0xffffffffu, give1, LANES);
            two[k] = (upper ? two[k + HALF] : two[k]) + __shfl_xor_sync(0xffffffffu, give2, LANES);
            pivot[k] = upper ? pivot[k + HALF] : pivot[k];
        }
        return upper ? HALF : 0;
    }
}

// The end of a tile: its statistics, and its raw values in f16.
//   sums: MR rows of 16 pixels by NR times 8 channels a warp; rows, cols: what of the tile lies inside the image;
//   output: shared memory for the tile; block_n: of its channels; pixel_at(r, c): place of a pixel in y.
template <typename B, typename Pixel>
__device__ __forceinline__ void finish_tile(const float (&sums)[B::MR][B::NR][4], int rows, int cols,
                                            const Statistics& stats, const LayerParams& p, unsigned char* output,
                                            __half* y, int block_n, Pixel pixel_at) {
    constexpr int TH = B::TH, TW = B::TW, NB = B::NB, COUT = B::COUT;
    __shared__ Moments of_warps[B::PHASES * B::WM][NB];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wm = warp % B::WM, wn = warp / B::WM % B::WN;
    const int phase = warp / (B::WM * B::WN) % B::PHASES;
    // Of warps that have split the inputs among them, the first has the sums of all.
    const bool first = warp < B::WM * B::WN * B::PHASES;
    const int px = lane / 4, channel = wn * (NB / B::WN) + lane % 4 * 2;
    if (first) {
        // Deviations from the warp's first pixel, so that a common offset costs no digits.
        const bool left = px < cols, right = px + 8 < cols;
        const int mine = max(0, min(B::MR, rows - wm * B::MR));
        constexpr int K = 2 * B::NR;
        float pivot[K], one[K], two[K];
#pragma unroll
        for (int k = 0; k < K; k++) {
            pivot[k] = __shfl_sync(0xffffffffu, sums[0][k / 2][k % 2], lane % 4);
            one[k] = two[k] = 0;
#pragma unroll
            for (int m = 0; m < B::MR; m++) {
                const float l = sums[m][k / 2][k % 2] - pivot[k], r = sums[m][k / 2][2 + k % 2] - pivot[k];
                if (m < mine && left) one[k] += l, two[k] = fmaf(l, l, two[k]);
                if (m < mine && right) one[k] += r, two[k] = fmaf(r, r, two[k]);
            }
        }
        static_assert(K >= 4 && (K & (K - 1)) == 0, "halves down to one channel, or two lanes with the same one");
        constexpr int LEFT = K >= 8 ? K / 8 : 1;
        const int at = exchange<16, K>(one, two, pivot) + exchange<8, K / 2>(one, two, pivot) +
                       exchange<4, K / 4>(one, two, pivot);
        const float count = float(max(mine * cols, 1));
        if (K >= 8 || lane % 8 < 4) {
#pragma unroll
            for (int k = 0; k < LEFT; k++) {
                const float shift = one[k] / count;
                of_warps[phase * B::WM + wm][channel + (at + k) / 2 * 8 + (at + k) % 2] = {
                    pivot[k] + shift, fmaxf(two[k] - one[k] * shift, 0.0f)};
            }
        }
    }
    __syncthreads();
    for (int c = threadIdx.x; c < NB; c += B::THREADS) {
        float n = 0, mean = 0, m2 = 0;
#pragma unroll
        for (int w = 0; w < B::PHASES * B::WM; w++) {
            append(n, mean, m2, float(max(0, min(B::MR, rows - w % B::WM * B::MR)) * cols), of_warps[w][c]);
        }
        Sums* to = stats.out + int64(blockIdx.z) * SUMS + blockIdx.x % COPIES<COUT> * COUT + block_n * NB + c;
        add_sums(to, double(n) * mean, m2 + double(n) * mean * mean, p);
        // No value is further from the mean than this, so that nothing is missed, and NaN is caught too.
        if (!(fabsf(mean) + sqrtf(m2) < LARGEST)) atomicAdd(stats.saturated, 1u);
    }
    // Through shared memory, so that whole pixels go out. All warps have passed the barrier above, so that the input may
    // be overwritten. The outputs of an input lie beside and below one another.
    constexpr int UP2 = B::PHASES == 4 ? 2 : 1, OUT_W = UP2 * TW;
    if (first) {
#pragma unroll
        for (int m = 0; m < B::MR; m++) {
            const int r = UP2 * (wm * B::MR + m) + phase / 2, c = UP2 * px + phase % 2;
            unsigned char* row = output + (r * OUT_W + c) * B::OUT_PITCH + channel * 2;
            unsigned char* right = row + 8 * UP2 * B::OUT_PITCH;
#pragma unroll
            for (int i = 0; i < B::NR; i++) {
                *reinterpret_cast<__half2*>(row + i * 16) = to_halves(sums[m][i][0], sums[m][i][1]);
                *reinterpret_cast<__half2*>(right + i * 16) = to_halves(sums[m][i][2], sums[m][i][3]);
            }
        }
    }
    __syncthreads();
    constexpr int UNITS = NB / 8;
    for (int i = threadIdx.x; i < UP2 * TH * OUT_W * UNITS; i += B::THREADS) {
        const int unit = i % UNITS, pixel = i / UNITS, r = pixel / OUT_W, c = pixel % OUT_W;
        if (r < UP2 * rows && c < UP2 * cols) {
            *reinterpret_cast<uint4*>(y + pixel_at(r, c) * COUT + block_n * NB + unit * 8) =
                *reinterpret_cast<const uint4*>(output + pixel * B::OUT_PITCH + unit * 16);
        }
    }
}

}  // namespace net
