// Mean |a(y + dy, x + dx) - gain b(y, x)| where both are: rows first, then the rows' sums; see src/kernels/mad_pair.rs.
#include "align.cuh"

struct MadParams {
    unsigned count, height, width;
};
LOCKSTEP_PARAMS(MadParams, 12);

struct MadTask {
    unsigned a, b;
    int dy, dx;
    float gain;
};
LOCKSTEP_PARAMS(MadTask, 20);

// First index of b, and how many from there on have a partner; the twin of `common`.
struct Common {
    unsigned first, count;
    __device__ __forceinline__ Common(unsigned n, int d) {
        const unsigned size = d < 0 ? 0u - unsigned(d) : unsigned(d);
        first = d < 0 ? size : 0;
        count = n > size ? n - size : 0;
    }
};

// rows[t, r], one warp a row. Tasks come first in the grid: those of a scene share planes, and the same rows of them
// are then read at the same time.
extern "C" __global__ void __launch_bounds__(256)
mad_rows_f32(const MadTask* __restrict__ tasks, const float* __restrict__ planes, double* __restrict__ rows,
             MadParams p) {
    const uint64 area = uint64(p.height) * p.width;
    const unsigned warps = blockDim.x / kLanes;
    for (unsigned t = blockIdx.x; t < p.count; t += gridDim.x) {
        const MadTask task = tasks[t];
        const Common y(p.height, task.dy), x(p.width, task.dx);
        if (x.count == 0) continue;
        const uint64 start = blockIdx.y * uint64(warps) + threadIdx.x / kLanes;
        for (uint64 r = start; r < y.count; r += gridDim.y * uint64(warps)) {
            const uint64 row = y.first + r;
            const float* b = planes + task.b * area + row * p.width + x.first;
            const float* a = planes + task.a * area + uint64((long long)row + task.dy) * p.width +
                             uint64((long long)x.first + task.dx);
            const double sum = lane_sum<float2>(
                x.count, [&](unsigned c) { return make_float2(a[c], b[c]); },
                [&](float2 v) { return double(fabsf(v.x - task.gain * v.y)); });
            if (lane_of() == 0) rows[t * uint64(p.height) + r] = sum;
        }
    }
}

// One warp a task.
extern "C" __global__ void __launch_bounds__(256)
mad_fold_f32(const MadTask* __restrict__ tasks, const double* __restrict__ rows, double* __restrict__ out,
             MadParams p) {
    const uint64 t = warp_of();
    if (t >= p.count) return;
    const Common y(p.height, tasks[t].dy), x(p.width, tasks[t].dx);
    const unsigned count = x.count == 0 ? 0 : y.count;
    const double* sums = rows + t * p.height;
    const double sum = lane_sum<double>(count, [&](unsigned r) { return sums[r]; }, [](double v) { return v; });
    const double n = double(uint64(count) * x.count);
    if (lane_of() == 0) out[t] = n > 0 ? sum / n : 0.0;
}
