// Window-weighted means of planes: rows first, then the rows' sums; see src/kernels/window_sums.rs.
#include "align.cuh"
#include "window.cuh"

// rows[p, r] = sum over c of v w_x, one warp a row.
extern "C" __global__ void __launch_bounds__(256)
window_rows_f32(const float* __restrict__ proxy, const float* __restrict__ wx, double* __restrict__ rows,
                WindowParams p) {
    const uint64 r = warp_of();
    if (r >= p.rows) return;
    for (unsigned plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
        const float* v = proxy + (plane * uint64(p.height) + p.top + r) * p.width + p.left;
        const double sum = lane_sum<float2>(
            p.columns, [&](unsigned c) { return make_float2(v[c], wx[c]); },
            [](float2 v) { return double(v.x) * double(v.y); });
        if (lane_of() == 0) rows[plane * uint64(p.rows) + r] = sum;
    }
}

// mean[p] = sum over r of w_y rows[p, r] / total, one warp a plane.
extern "C" __global__ void __launch_bounds__(256)
window_fold_f32(const double* __restrict__ rows, const float* __restrict__ wy, double* __restrict__ mean,
                WindowParams p) {
    const uint64 plane = warp_of();
    if (plane >= p.planes) return;
    const double* sums = rows + plane * p.rows;
    const double sum = lane_sum<double2>(
        p.rows, [&](unsigned r) { return make_double2(double(wy[r]), sums[r]); },
        [](double2 v) { return v.x * v.y; });
    if (lane_of() == 0) mean[plane] = sum / p.total;
}
