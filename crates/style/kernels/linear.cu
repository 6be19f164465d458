// lockstep: arch = compute_80
// A linear map of rows with GELU or a residual; see src/ops/linear.rs.
#include "exp.cuh"
#include "ops.cuh"
#include "tiles.cuh"

using namespace style_ops;

struct LinearParams {
    uint64 rows, period;        // rows of x; rows of the residual, or 0
    unsigned inputs, outputs, gelu, pad;
};
LOCKSTEP_PARAMS(LinearParams, 32);

// What follows a sum.
template <typename T>
__device__ __forceinline__ void finish(float sum, uint64 row, unsigned column, const float* bias, const T* residual, T* y,
                                       const LinearParams& p) {
    float v = sum + bias[column];
    if (p.gelu) v = gelu(v);
    if (p.period) v += widened(residual[row % p.period * p.outputs + column]);
    y[row * p.outputs + column] = nearest<T>(v);
}

// 128 rows by 128 outputs a block of eight warps, 32 by 64 each; inputs come in steps of 32 through two stages.
constexpr int kTile = 128, kStep = 32, kPitch = kStep + 8;

extern "C" __global__ void __launch_bounds__(256)
    linear_f16(const __half* x, const __half* w, const float* bias, const __half* residual, __half* y, LinearParams p) {
    __shared__ __align__(16) __half stages[2][2][kTile * kPitch];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wm = warp % 4, wn = warp / 4;
    const uint64 row0 = uint64(blockIdx.x) * kTile;
    const unsigned column0 = blockIdx.y * kTile;
    const int steps = (p.inputs + kStep - 1) / kStep;
    // 128 rows of four 16-byte pieces, of x and of w: two of each a thread. What lies outside is zero.
    const auto fetch = [&](int step) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int piece = threadIdx.x + i % 2 * 256, r = piece / 4, k = step * kStep + piece % 4 * 8;
            const bool of_w = i >= 2;
            __half* to = &stages[step % 2][of_w][r * kPitch + piece % 4 * 8];
            const uint64 row = of_w ? column0 + r : row0 + r, rows = of_w ? p.outputs : p.rows;
            if (row < rows && k < p.inputs) {
                tiles::copy_16_async(to, (of_w ? w : x) + row * p.inputs + k);
            } else {
                *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
            }
        }
        tiles::commit_copies();
    };
    float sums[2][8][4] = {};
    fetch(0);
    for (int step = 0; step < steps; step++) {
        tiles::wait_copies<0>();
        __syncthreads();
        if (step + 1 < steps) fetch(step + 1);
        const __half* a = stages[step % 2][0] + wm * 32 * kPitch;
        const __half* b = stages[step % 2][1] + wn * 64 * kPitch;
#pragma unroll
        for (int k = 0; k < kStep; k += 16) {
            unsigned left[2][4];
#pragma unroll
            for (int m = 0; m < 2; m++) {
                tiles::load_matrices(left[m], tiles::shared_address(a + (m * 16 + lane % 16) * kPitch + k + lane / 16 * 8));
            }
#pragma unroll
            for (int n = 0; n < 4; n++) {
                // Sixteen outputs: matrices of (outputs 0..8, inputs 0..8), (0..8, 8..16), (8..16, 0..8), (8..16, 8..16).
                unsigned right[4];
                const int r = n * 16 + lane / 16 * 8 + lane % 8;
                tiles::load_matrices(right, tiles::shared_address(b + r * kPitch + k + lane / 8 % 2 * 8));
#pragma unroll
                for (int m = 0; m < 2; m++) {
                    tiles::multiply(sums[m][2 * n], left[m], right[0], right[1]);
                    tiles::multiply(sums[m][2 * n + 1], left[m], right[2], right[3]);
                }
            }
        }
    }
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint64 row = row0 + wm * 32 + m * 16 + half * 8 + lane / 4;
            if (row >= p.rows) continue;
            const __half* more = residual + (p.period ? row % p.period * p.outputs : 0);
#pragma unroll
            for (int n = 0; n < 8; n++) {
                const unsigned column = column0 + wn * 64 + n * 8 + lane % 4 * 2;
                if (column >= p.outputs) continue;
                float v[2];
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    v[i] = sums[m][n][half * 2 + i] + bias[column + i];
                    if (p.gelu) v[i] = gelu(v[i]);
                    if (p.period) v[i] += widened(more[column + i]);
                }
                *reinterpret_cast<__half2*>(y + row * p.outputs + column) =
                    __halves2half2(nearest<__half>(v[0]), nearest<__half>(v[1]));
            }
        }
    }
}

// 64 rows by 64 outputs a block, 4 by 4 a thread; inputs in steps of 16.
constexpr int kSide = 64, kDepth = 16;

extern "C" __global__ void __launch_bounds__(256)
    linear_f32(const float* x, const float* w, const float* bias, const float* residual, float* y, LinearParams p) {
    __shared__ float a[kDepth][kSide + 4], b[kDepth][kSide + 4];
    const uint64 row0 = uint64(blockIdx.x) * kSide;
    const unsigned column0 = blockIdx.y * kSide;
    const int r = threadIdx.x / 16 * 4, c = threadIdx.x % 16 * 4;
    float sums[4][4] = {};
    for (unsigned k0 = 0; k0 < p.inputs; k0 += kDepth) {
        __syncthreads();
        for (int i = threadIdx.x; i < kSide * kDepth; i += 256) {
            const int k = i % kDepth, at = i / kDepth;
            const bool inside = k0 + k < p.inputs;
            a[k][at] = inside && row0 + at < p.rows ? x[(row0 + at) * p.inputs + k0 + k] : 0.0f;
            b[k][at] = inside && column0 + at < p.outputs ? w[uint64(column0 + at) * p.inputs + k0 + k] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kDepth; k++) {
            const Pack<float, 4> left = lockstep::load<float, 4>(&a[k][r]), right = lockstep::load<float, 4>(&b[k][c]);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = fmaf(left.at[i], right.at[j], sums[i][j]);
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (row0 + r + i < p.rows && column0 + c + j < p.outputs) {
                finish(sums[i][j], row0 + r + i, column0 + c + j, bias, residual, y, p);
            }
        }
    }
}
