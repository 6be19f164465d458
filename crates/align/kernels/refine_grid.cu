// The band-limited correlation on 17 x 17 places: phases, sums over rows, sums over columns; see
// src/kernels/refine_grid.rs.
#include "align.cuh"

constexpr unsigned kSide = 17;       // twin of REFINE_SIDE
constexpr unsigned kSteps = kSide / 2;
constexpr unsigned kTurns = 10;      // the centre, kSteps distances, and one that rounds to 16 bytes; twin of TURNS
constexpr unsigned kRows = 128;      // twin of CHUNK_ROWS
constexpr unsigned kColumns = 64;    // threads of a block that sums rows; twin of COLUMNS
constexpr unsigned kEach = 2;        // columns of a thread; twin of EACH
constexpr unsigned kAhead = 4;       // rows that are asked for before they are used
constexpr unsigned kThreads = 512;   // of a block that sums columns; twin of THREADS
constexpr unsigned kChunks = 16;     // chunks that are asked for before they are used

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

// vertical[t, k, 0]: the phase of a row at the centre; [t, k, j]: that of j steps away from it, which is the same on
// both sides but for the sign of its sine. horizontal[t, i, l]: the phases of columns at every place.
extern "C" __global__ void refine_phases_f32(const RefineTask* __restrict__ tasks, float2* __restrict__ vertical,
                                             double2* __restrict__ horizontal, RefineParams p) {
    const unsigned half = p.width / 2 + 1, i = blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned t = blockIdx.y; t < p.count; t += gridDim.y) {
        if (i < p.height * kTurns) {
            const unsigned k = i / kTurns, j = i % kTurns;
            const int f = 2 * k > p.height ? int(k) - int(p.height) : int(k);
            const double distance = j == 0 ? tasks[t].y : p.radius * double(j) / double(kSteps);
            const double2 turn = phase(f, distance, p.height);
            vertical[t * uint64(p.height) * kTurns + i] = make_float2(float(turn.x), float(turn.y));
        }
        if (i < half * kSide) {
            horizontal[t * uint64(half) * kSide + i] =
                phase(int(i % half), place(tasks[t].x, p.radius, i / half), p.width);
        }
    }
}

// What one column gathers: sums of its elements turned to the centre, and of these times cosine and sine of each
// distance.
struct Sums {
    float2 middle, cosine[kSteps], sine[kSteps];

    __device__ __forceinline__ void add(float2 v, const float2* turns) {
        const float2 c = turns[0];
        const float re = fmaf(v.x, c.x, -v.y * c.y), im = fmaf(v.x, c.y, v.y * c.x);
        middle.x += re;
        middle.y += im;
#pragma unroll
        for (unsigned j = 0; j < kSteps; ++j) {
            const float2 turn = turns[j + 1];
            cosine[j].x = fmaf(re, turn.x, cosine[j].x);
            cosine[j].y = fmaf(im, turn.x, cosine[j].y);
            sine[j].x = fmaf(re, turn.y, sine[j].x);
            sine[j].y = fmaf(im, turn.y, sine[j].y);
        }
    }

    // One sum for each place, `apart` elements from one to the next.
    __device__ __forceinline__ void store(float2* out, unsigned apart) const {
        out[uint64(kSteps) * apart] = middle;
#pragma unroll
        for (unsigned j = 0; j < kSteps; ++j) {
            const float2 c = cosine[j], s = sine[j];
            out[uint64(kSteps + 1 + j) * apart] = make_float2(c.x - s.y, c.y + s.x);
            out[uint64(kSteps - 1 - j) * apart] = make_float2(c.x + s.y, c.y - s.x);
        }
    }
};

// parts[t, chunk, j, l]: 128 rows of a column summed at each j; a thread has two columns, so that the phases of a row,
// which come from shared memory, serve both.
extern "C" __global__ void __launch_bounds__(kColumns)
refine_rows_f32(const float2* __restrict__ z, const float2* __restrict__ vertical, float2* __restrict__ parts,
                RefineParams p) {
    __shared__ float4 turns[kRows * kTurns / 2];
    const unsigned half = p.width / 2 + 1, l = blockIdx.x * kColumns * kEach + threadIdx.x;
    const unsigned chunk = blockIdx.y, first = chunk * kRows;
    const unsigned rows = min(kRows, p.height - first);
    for (unsigned t = blockIdx.z; t < p.count; t += gridDim.z) {
        const float4* own = reinterpret_cast<const float4*>(vertical + (t * uint64(p.height) + first) * kTurns);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < kRows * kTurns / 2; i += kColumns) {
            turns[i] = i < rows * kTurns / 2 ? own[i] : make_float4(0, 0, 0, 0);
        }
        __syncthreads();
        const float2* from = z + (t * uint64(p.height) + first) * half;
        Sums sums[kEach] = {};
        for (unsigned k = 0; k < rows; k += kAhead) {
            float2 v[kAhead][kEach];
#pragma unroll
            for (unsigned i = 0; i < kAhead; ++i) {
                const float2* row = from + uint64(min(k + i, rows - 1)) * half;
#pragma unroll
                for (unsigned c = 0; c < kEach; ++c) v[i][c] = row[min(l + c * kColumns, half - 1)];
            }
#pragma unroll
            for (unsigned i = 0; i < kAhead; ++i) {
                // Behind the last row its phases are 0, and so is what they add.
                float4 packed[kTurns / 2];
#pragma unroll
                for (unsigned q = 0; q < kTurns / 2; ++q) packed[q] = turns[(k + i) * (kTurns / 2) + q];
                float2 turn[kTurns];
#pragma unroll
                for (unsigned q = 0; q < kTurns / 2; ++q) {
                    turn[2 * q] = make_float2(packed[q].x, packed[q].y);
                    turn[2 * q + 1] = make_float2(packed[q].z, packed[q].w);
                }
#pragma unroll
                for (unsigned c = 0; c < kEach; ++c) sums[c].add(v[i][c], turn);
            }
        }
        float2* out = parts + (t * uint64(gridDim.y) + chunk) * kSide * half;
#pragma unroll
        for (unsigned c = 0; c < kEach; ++c) {
            if (l + c * kColumns < half) sums[c].store(out + l + c * kColumns, half);
        }
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
            for (unsigned first = 0; first < chunks; first += kChunks) {
                float2 v[kChunks];
#pragma unroll
                for (unsigned i = 0; i < kChunks; ++i) {
                    const uint64 chunk = t * uint64(chunks) + min(first + i, chunks - 1);
                    v[i] = parts[(chunk * kSide + j) * half + l];
                }
#pragma unroll
                for (unsigned i = 0; i < kChunks; ++i) {
                    if (first + i < chunks) {
                        re += double(v[i].x);
                        im += double(v[i].y);
                    }
                }
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
            const double sum = fold_lanes(own[i]);
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
