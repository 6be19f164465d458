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

// rows[t, r], one warp a row.
extern "C" __global__ void mad_rows_f32(const MadTask* __restrict__ tasks, const float* __restrict__ planes,
                                        double* __restrict__ rows, MadParams p) {
    const uint64 r = warp_of(), area = uint64(p.height) * p.width;
    for (unsigned t = blockIdx.y; t < p.count; t += gridDim.y) {
        const MadTask task = tasks[t];
        const Common y(p.height, task.dy), x(p.width, task.dx);
        if (r >= y.count || x.count == 0) continue;
        const uint64 row = y.first + r;
        const float* b = planes + task.b * area + row * p.width + x.first;
        const float* a = planes + task.a * area + uint64((long long)row + task.dy) * p.width +
                         uint64((long long)x.first + task.dx);
        const double sum = lane_sum(x.count, [&](unsigned c) { return double(fabsf(a[c] - task.gain * b[c])); });
        if (lane_of() == 0) rows[t * uint64(p.height) + r] = sum;
    }
}

// One warp a task.
extern "C" __global__ void mad_fold_f32(const MadTask* __restrict__ tasks, const double* __restrict__ rows,
                                        double* __restrict__ out, MadParams p) {
    const uint64 t = warp_of();
    if (t >= p.count) return;
    const Common y(p.height, tasks[t].dy), x(p.width, tasks[t].dx);
    const unsigned count = x.count == 0 ? 0 : y.count;
    const double* sums = rows + t * p.height;
    const double sum = lane_sum(count, [&](unsigned r) { return sums[r]; }), n = double(uint64(count) * x.count);
    if (lane_of() == 0) out[t] = n > 0 ? sum / n : 0.0;
}
