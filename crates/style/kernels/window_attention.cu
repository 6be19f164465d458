// lockstep: arch = compute_80
// Attention of tokens to those of their window and to a global one; see src/ops/fused_attention.rs.
#include "exp.cuh"
#include "ops.cuh"
#include "tiles.cuh"

using namespace style_ops;

struct WindowParams {
    unsigned rows, cols, dim, heads, window, shift, windows_y, windows_x, images;
    float scale;
};
LOCKSTEP_PARAMS(WindowParams, 40);

constexpr int kWidth = 64;    // most channels of a head; twin of MAX_HEAD
constexpr int kKeys = 64;     // of a tile
// A logit that no key has: its weight vanishes beside that of any key.
constexpr float kNone = -3.0e38f;

// The tokens of a block's window.
struct Span {
    unsigned top, left, cols, tokens;
    __device__ __forceinline__ Span(const WindowParams& p, unsigned window) {
        const unsigned wy = window / p.windows_x, wx = window % p.windows_x;
        top = wy * p.window > p.shift ? wy * p.window - p.shift : 0;
        left = wx * p.window > p.shift ? wx * p.window - p.shift : 0;
        const unsigned bottom = min(wy * p.window + p.window - p.shift, p.rows);
        const unsigned right = min(wx * p.window + p.window - p.shift, p.cols);
        cols = right - left, tokens = (bottom - top) * cols;
    }
    // Number of a token of the window in its image.
    __device__ __forceinline__ uint64 at(const WindowParams& p, unsigned i) const {
        return uint64(top + i / cols) * p.cols + left + i % cols;
    }
};

__device__ __forceinline__ void load_transposed(unsigned (&out)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ unsigned halves(float x, float y) {
    const __half2 pair = __floats2half2_rn(x, y);
    return *reinterpret_cast<const unsigned*>(&pair);
}

// 128 queries a block, 16 a warp.
constexpr int kQueries = 128, kPitch = kWidth + 8;

// Rows of a head into shared memory, zeros where there are none; `row(i)` gives where row i begins, or null.
template <typename Row>
__device__ __forceinline__ void fetch_rows(__half* to, int rows, int width, Row row) {
    for (int i = threadIdx.x; i < rows * (kWidth / 8); i += 256) {
        const int r = i / (kWidth / 8), c = i % (kWidth / 8) * 8;
        const __half* from = c < width ? row(r) : nullptr;
        *reinterpret_cast<uint4*>(to + r * kPitch + c) =
            from ? *reinterpret_cast<const uint4*>(from + c) : make_uint4(0, 0, 0, 0);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    window_attention_f16(const __half* qkv, const __half* global, __half* y, WindowParams p) {
    __shared__ __align__(16) __half q[kQueries * kPitch], k[kKeys * kPitch], v[kKeys * kPitch];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = p.dim / p.heads;
    const unsigned pieces = (p.window * p.window + kQueries - 1) / kQueries;
    const Span span(p, blockIdx.x / pieces);
    const unsigned first = blockIdx.x % pieces * kQueries, channel = blockIdx.y * width;
    if (first >= span.tokens) return;
    for (uint64 image = blockIdx.z; image < p.images; image += gridDim.z) {
        const __half* tokens = qkv + image * p.rows * p.cols * 3 * p.dim;
        const __half* more = global + image * 3 * p.dim;
        const auto part = [&](unsigned i, int which) -> const __half* {
            if (i > span.tokens) return nullptr;
            const __half* row = i == span.tokens ? more : tokens + span.at(p, i) * 3 * p.dim;
            return row + which * p.dim + channel;
        };
        __syncthreads();
        fetch_rows(q, kQueries, width, [&](int r) { return first + r < span.tokens ? part(first + r, 0) : nullptr; });
        __syncthreads();
        unsigned queries[4][4];
#pragma unroll
        for (int s = 0; s < 4; s++) {
            const __half* at = q + (warp * 16 + lane % 16) * kPitch + s * 16 + lane / 16 * 8;
            tiles::load_matrices(queries[s], tiles::shared_address(at));
        }
        float sums[8][4] = {}, most[2] = {kNone, kNone}, all[2] = {0, 0};
        for (unsigned key0 = 0; key0 <= span.tokens; key0 += kKeys) {
            __syncthreads();
            fetch_rows(k, kKeys, width, [&](int r) { return part(key0 + r, 1); });
            fetch_rows(v, kKeys, width, [&](int r) { return part(key0 + r, 2); });
            __syncthreads();
            float logits[8][4] = {};
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int s = 0; s < 4; s++) {
                    unsigned keys[4];
                    const __half* at = k + (n * 16 + lane / 16 * 8 + lane % 8) * kPitch + s * 16 + lane / 8 % 2 * 8;
                    tiles::load_matrices(keys, tiles::shared_address(at));
                    tiles::multiply(logits[2 * n], queries[s], keys[0], keys[1]);
                    tiles::multiply(logits[2 * n + 1], queries[s], keys[2], keys[3]);
                }
            }
            // Rows lane / 4 and lane / 4 + 8; four lanes share a row.
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float largest = most[half];
#pragma unroll
                for (int n = 0; n < 8; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& logit = logits[n][half * 2 + i];
                        logit = key0 + n * 8 + lane % 4 * 2 + i <= span.tokens ? logit * p.scale : kNone;
                        largest = fmaxf(largest, logit);
                    }
                }
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
                const float shrink = exponential(most[half] - largest);
                most[half] = largest;
                float sum = 0;
#pragma unroll
                for (int n = 0; n < 8; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& logit = logits[n][half * 2 + i];
                        logit = exponential(logit - largest);
                        sum += logit;
                        sums[n][half * 2 + i] *= shrink;
                    }
                }
                all[half] = fmaf(all[half], shrink, sum);
            }
#pragma unroll
            for (int s = 0; s < 4; s++) {
                const unsigned weights[4] = {
                    halves(logits[2 * s][0], logits[2 * s][1]), halves(logits[2 * s][2], logits[2 * s][3]),
                    halves(logits[2 * s + 1][0], logits[2 * s + 1][1]), halves(logits[2 * s + 1][2], logits[2 * s + 1][3])};
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    // (keys 0..8, channels 0..8), (8..16, 0..8), (0..8, 8..16), (8..16, 8..16), transposed.
                    unsigned values[4];
                    const __half* at = v + (s * 16 + lane % 16) * kPitch + n * 16 + lane / 16 * 8;
                    load_transposed(values, tiles::shared_address(at));
                    tiles::multiply(sums[2 * n], weights, values[0], values[1]);
                    tiles::multiply(sums[2 * n + 1], weights, values[2], values[3]);
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = all[half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const unsigned token = first + warp * 16 + half * 8 + lane / 4;
            if (token >= span.tokens) continue;
            __half* to = y + (image * p.rows * p.cols + span.at(p, token)) * p.dim + channel;
#pragma unroll
            for (int n = 0; n < 8; n++) {
                const int c = n * 8 + lane % 4 * 2;
                if (c < width) {
                    *reinterpret_cast<__half2*>(to + c) = __halves2half2(nearest<__half>(sums[n][half * 2] / sum),
                                                                         nearest<__half>(sums[n][half * 2 + 1] / sum));
                }
            }
        }
    }
}

// 64 queries a block, four threads each: a thread has every fourth channel.
constexpr int kSmall = 64, kTile = 16;

extern "C" __global__ void __launch_bounds__(256)
    window_attention_f32(const float* qkv, const float* global, float* y, WindowParams p) {
    __shared__ float k[kTile][kWidth], v[kTile][kWidth];
    const int width = p.dim / p.heads, part = threadIdx.x % 4;
    const unsigned pieces = (p.window * p.window + kSmall - 1) / kSmall;
    const Span span(p, blockIdx.x / pieces);
    const unsigned first = blockIdx.x % pieces * kSmall, channel = blockIdx.y * width;
    if (first >= span.tokens) return;
    const unsigned token = min(first + threadIdx.x / 4, span.tokens - 1);
    for (uint64 image = blockIdx.z; image < p.images; image += gridDim.z) {
        const float* tokens = qkv + image * p.rows * p.cols * 3 * p.dim;
        const float* more = global + image * 3 * p.dim;
        float query[kWidth / 4], sums[kWidth / 4] = {}, most = kNone, all = 0;
#pragma unroll
        for (int i = 0; i < kWidth / 4; i++) {
            const int c = i * 4 + part;
            query[i] = c < width ? tokens[span.at(p, token) * 3 * p.dim + channel + c] : 0.0f;
        }
        for (unsigned key0 = 0; key0 <= span.tokens; key0 += kTile) {
            __syncthreads();
            for (int i = threadIdx.x; i < kTile * kWidth; i += 256) {
                const unsigned key = key0 + i / kWidth, c = i % kWidth;
                const bool inside = key <= span.tokens && c < width;
                const float* row = key < span.tokens ? tokens + span.at(p, key) * 3 * p.dim : more;
                k[i / kWidth][c] = inside ? row[p.dim + channel + c] : 0.0f;
                v[i / kWidth][c] = inside ? row[2 * p.dim + channel + c] : 0.0f;
            }
            __syncthreads();
            float logits[kTile], largest = most;
#pragma unroll
            for (int j = 0; j < kTile; j++) {
                float dot = 0;
#pragma unroll
                for (int i = 0; i < kWidth / 4; i++) dot = fmaf(query[i], k[j][i * 4 + part], dot);
                dot += __shfl_xor_sync(0xffffffffu, dot, 1);
                dot += __shfl_xor_sync(0xffffffffu, dot, 2);
                logits[j] = key0 + j <= span.tokens ? dot * p.scale : kNone;
                largest = fmaxf(largest, logits[j]);
            }
            const float shrink = exponential(most - largest);
            most = largest, all *= shrink;
#pragma unroll
            for (int i = 0; i < kWidth / 4; i++) sums[i] *= shrink;
#pragma unroll
            for (int j = 0; j < kTile; j++) {
                const float weight = exponential(logits[j] - largest);
                all += weight;
#pragma unroll
                for (int i = 0; i < kWidth / 4; i++) sums[i] = fmaf(weight, v[j][i * 4 + part], sums[i]);
            }
        }
        if (first + threadIdx.x / 4 < span.tokens) {
            float* to = y + (image * p.rows * p.cols + span.at(p, token)) * p.dim + channel;
#pragma unroll
            for (int i = 0; i < kWidth / 4; i++) {
                if (i * 4 + part < width) to[i * 4 + part] = sums[i] / all;
            }
        }
    }
}
