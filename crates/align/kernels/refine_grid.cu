// The band-limited correlation on 17 x 17 places: phases, sums over rows, sums over columns; see
// src/kernels/refine_grid.rs.
#include "align.cuh"

constexpr unsigned kSide = 17;       // twin of REFINE_SIDE
constexpr unsigned kRows = 128;      // twin of CHUNK_ROWS
constexpr unsigned kColumns = 128;
constexpr unsigned kThreads = 256;

struct RefineParams {
    unsigned count, height, width, reserved;
    double radius;
};
LOCKSTEP_PARAMS(RefineParams, 24);

struct RefineTask {
    double y, x;
};
LOCKSTEP_PARAMS(RefineTask, 16);

// exp(2 pi i k d / n), with the product reduced before it meets pi.
__device__ __forceinline__ double2 phase(int k, double d, unsigned n) {
    const double turns = double(k) / double(n) * d;
    double sine, cosine;
    sincospi(2.0 * (turns - round(turns)), &sine, &cosine);
    return make_double2(cosine, sine);
}

__device__ __forceinline__ double place(double centre, double radius, unsigned j) {
    return centre + radius * (double(j) - 8.0) / 8.0;
}

// vertical[t, k, j] and horizontal[t, i, l]: the phases of rows and columns.
extern "C" __global__ void refine_phases_f32(const RefineTask* __restrict__ tasks, float2* __restrict__ vertical,
                                             double2* __restrict__ horizontal, RefineParams p) {
    const unsigned half = p.width / 2 + 1, i = blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned t = blockIdx.y; t < p.count; t += gridDim.y) {
        if (i < p.height * kSide) {
            const unsigned k = i / kSide, j = i % kSide;
            const int f = 2 * k > p.height ? int(k) - int(p.height) : int(k);
            const double2 turn = phase(f, place(tasks[t].y, p.radius, j), p.height);
            vertical[t * uint64(p.height) * kSide + i] = make_float2(float(turn.x), float(turn.y));
        }
        if (i < half * kSide) {
            horizontal[t * uint64(half) * kSide + i] =
                phase(int(i % half), place(tasks[t].x, p.radius, i / half), p.width);
        }
    }
}

// parts[t, chunk, j, l]: 128 rows of a column summed at each j, one thread a column.
extern "C" __global__ void __launch_bounds__(kColumns)
refine_rows_f32(const float2* __restrict__ z, const float2* __restrict__ vertical, float2* __restrict__ parts,
                RefineParams p) {
    __shared__ float2 turns[kRows * kSide];
    const unsigned half = p.width / 2 + 1, l = blockIdx.x * kColumns + threadIdx.x;
    const unsigned chunk = blockIdx.y, first = chunk * kRows;
    const unsigned rows = min(kRows, p.height - first);
    for (unsigned t = blockIdx.z; t < p.count; t += gridDim.z) {
        const float2* own = vertical + (t * uint64(p.height) + first) * kSide;
        __syncthreads();
        for (unsigned i = threadIdx.x; i < rows * kSide; i += kColumns) turns[i] = own[i];
        __syncthreads();
        if (l >= half) continue;
        const float2* column = z + (t * uint64(p.height) + first) * half + l;
        float2 sums[kSide];
#pragma unroll
        for (unsigned j = 0; j < kSide; ++j) sums[j] = make_float2(0, 0);
        for (unsigned k = 0; k < rows; ++k) {
            const float2 v = column[uint64(k) * half];
#pragma unroll
            for (unsigned j = 0; j < kSide; ++j) {
                const float2 turn = turns[k * kSide + j];
                sums[j].x = fmaf(v.x, turn.x, fmaf(-v.y, turn.y, sums[j].x));
                sums[j].y = fmaf(v.x, turn.y, fmaf(v.y, turn.x, sums[j].y));
            }
        }
        float2* out = parts + (t * uint64(gridDim.y) + chunk) * kSide * half + l;
#pragma unroll
        for (unsigned j = 0; j < kSide; ++j) out[uint64(j) * half] = sums[j];
    }
}

// out[t, j, i]: one block for each t and j.
extern "C" __global__ void __launch_bounds__(kThreads)
refine_columns_f32(const float2* __restrict__ parts, const double2* __restrict__ horizontal,
                   double* __restrict__ out, RefineParams p) {
    __shared__ double sums[kThreads / kLanes][kSide];
    const unsigned half = p.width / 2 + 1, chunks = (p.height + kRows - 1) / kRows, j = blockIdx.x;
    for (unsigned t = blockIdx.y; t < p.count; t += gridDim.y) {
        double own[kSide];
#pragma unroll
        for (unsigned i = 0; i < kSide; ++i) own[i] = 0;
        for (unsigned l = threadIdx.x; l < half; l += kThreads) {
            double re = 0, im = 0;
            for (unsigned chunk = 0; chunk < chunks; ++chunk) {
                const float2 v = parts[((t * uint64(chunks) + chunk) * kSide + j) * half + l];
                re += double(v.x);
                im += double(v.y);
            }
            const double twice = l == 0 || 2 * l == p.width ? 1.0 : 2.0;
            const double2* turn = horizontal + t * uint64(half) * kSide + l;
#pragma unroll
            for (unsigned i = 0; i < kSide; ++i) {
                const double2 w = turn[uint64(i) * half];
                own[i] += twice * (re * w.x - im * w.y);
            }
        }
        __syncthreads();
#pragma unroll
        for (unsigned i = 0; i < kSide; ++i) {
            double sum = own[i];
            for (unsigned lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += __shfl_down_sync(kWhole, sum, lanes);
            if (lane_of() == 0) sums[threadIdx.x / kLanes][i] = sum;
        }
        __syncthreads();
        if (threadIdx.x < kSide) {
            double sum = 0;
            for (unsigned warp = 0; warp < kThreads / kLanes; ++warp) sum += sums[warp][threadIdx.x];
            const double scale = 1.0 / (double(p.height) * double(p.width));
            out[(t * uint64(kSide) + j) * kSide + threadIdx.x] = sum * scale;
        }
    }
}
