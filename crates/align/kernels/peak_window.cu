// The peak of a correlation near (0, 0), what stands beside it, and the spread; see src/kernels/peak_window.rs.
#include "align.cuh"

constexpr int kMargin = 3;    // twin of PEAK_MARGIN
constexpr int kNone = 0x7fffffff / 4;
constexpr unsigned kThreads = 256;

struct PeakParams {
    unsigned count, height, width, limit;
};
LOCKSTEP_PARAMS(PeakParams, 16);

struct PeakFigures {
    int dy, dx;
    float peak, second;
    double mean, std;
};
LOCKSTEP_PARAMS(PeakFigures, 32);

// One row of the search range: its sum, the sum of its squares, its largest value and where that is.
struct Row {
    double sum, squares, most, dx;
};
LOCKSTEP_PARAMS(Row, 32);

struct Place {
    float value;
    int dy, dx;
};

// Whether a comes before b; the twin of `before`.
__device__ __forceinline__ bool before(const Place& a, const Place& b) {
    if (a.value != b.value) return a.value > b.value;
    const int near = abs(a.dy) + abs(a.dx), far = abs(b.dy) + abs(b.dx);
    if (near != far) return near < far;
    return a.dy != b.dy ? a.dy < b.dy : a.dx < b.dx;
}

// Index of the i-th row or column of the range, from the most negative shift on.
__device__ __forceinline__ unsigned wrapped(unsigned i, unsigned n, unsigned limit) {
    return i < limit ? n - limit + i : i - limit;
}

// One warp a row.
extern "C" __global__ void __launch_bounds__(kThreads)
peak_rows_f32(const float* __restrict__ c, Row* __restrict__ rows, PeakParams p) {
    const unsigned side = 2 * p.limit + 1;
    const uint64 i = warp_of();
    if (i >= side) return;
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const float* line = c + (n * uint64(p.height) + wrapped(unsigned(i), p.height, p.limit)) * p.width;
        Row row = {0, 0, 0, 0};
        // All of a row have the same dy, which then decides nothing.
        Place best = {-INFINITY, 0, kNone};
        for_lane<float>(side, [&](unsigned j) { return line[wrapped(j, p.width, p.limit)]; },
                        [&](unsigned j, float v) {
                            row.sum += double(v);
                            row.squares += double(v) * double(v);
                            const Place here = {v, 0, int(j) - int(p.limit)};
                            if (before(here, best)) best = here;
                        });
        row.sum = fold_lanes(row.sum);
        row.squares = fold_lanes(row.squares);
        for (unsigned half = kLanes / 2; half > 0; half /= 2) {
            const float value = __shfl_down_sync(kWhole, best.value, half);
            const Place other = {value, 0, __shfl_down_sync(kWhole, best.dx, half)};
            if (before(other, best)) best = other;
        }
        row.most = double(best.value);
        row.dx = double(best.dx);
        if (lane_of() == 0) rows[n * uint64(side) + i] = row;
    }
}

// One block a correlation.
extern "C" __global__ void __launch_bounds__(kThreads)
peak_fold_f32(const float* __restrict__ c, const Row* __restrict__ all, PeakFigures* __restrict__ figures,
              PeakParams p) {
    __shared__ Place places[kThreads];
    __shared__ float seconds[kThreads];
    __shared__ double sums[2];
    const unsigned side = 2 * p.limit + 1, t = threadIdx.x;
    const double values = double(uint64(side) * side);
    for (unsigned n = blockIdx.x; n < p.count; n += gridDim.x) {
        const Row* rows = all + n * uint64(side);
        if (t < 2 * kLanes) {
            const bool first = t < kLanes;
            const double sum = lane_sum<double>(
                side, [&](unsigned i) { return first ? rows[i].sum : rows[i].squares; }, [](double v) { return v; });
            if (lane_of() == 0) sums[first ? 0 : 1] = sum;
        }
        Place best = {-INFINITY, kNone, kNone};
        for (unsigned i = t; i < side; i += kThreads) {
            const Place here = {float(rows[i].most), int(i) - int(p.limit), int(rows[i].dx)};
            if (before(here, best)) best = here;
        }
        places[t] = best;
        __syncthreads();
        for (unsigned half = kThreads / 2; half > 0; half /= 2) {
            if (t < half && before(places[t + half], places[t])) places[t] = places[t + half];
            __syncthreads();
        }
        best = places[0];
        // Rows far from the peak have told their largest value; the few near it are looked at again.
        float second = -INFINITY;
        for (unsigned i = t; i < side; i += kThreads) {
            if (abs(int(i) - int(p.limit) - best.dy) > kMargin) second = fmaxf(second, float(rows[i].most));
        }
        for (int dy = best.dy - kMargin + int(t / kLanes); dy <= best.dy + kMargin; dy += kThreads / kLanes) {
            if (dy < -int(p.limit) || dy > int(p.limit)) continue;
            const unsigned y = dy < 0 ? p.height + dy : dy;
            const float* line = c + (n * uint64(p.height) + y) * p.width;
            for_lane<float>(side, [&](unsigned j) { return line[wrapped(j, p.width, p.limit)]; },
                            [&](unsigned j, float v) {
                                if (abs(int(j) - int(p.limit) - best.dx) > kMargin) second = fmaxf(second, v);
                            });
        }
        seconds[t] = second;
        __syncthreads();
        for (unsigned half = kThreads / 2; half > 0; half /= 2) {
            if (t < half) seconds[t] = fmaxf(seconds[t], seconds[t + half]);
            __syncthreads();
        }
        if (t == 0) {
            const double mean = sums[0] / values, variance = sums[1] / values - mean * mean;
            figures[n] = {best.dy, best.dx, best.value, seconds[0], mean, sqrt(fmax(variance, 0.0))};
        }
        // The next correlation must not overwrite what thread 0 reads.
        __syncthreads();
    }
}
