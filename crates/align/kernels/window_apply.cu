// out = (v - mean) (w_y w_x) in rows padded to 2 (columns / 2 + 1); see src/kernels/window_apply.rs.
#include "align.cuh"
#include "window.cuh"

extern "C" __global__ void window_apply_f32(const float* __restrict__ proxy, const double* __restrict__ mean,
                                            const float* __restrict__ wy, const float* __restrict__ wx,
                                            float* __restrict__ out, WindowParams p) {
    const unsigned c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    const unsigned stride = 2 * (p.columns / 2 + 1);
    if (c >= stride || r >= p.rows) return;
    const bool inside = c < p.columns;
    const float w = inside ? wy[r] * wx[c] : 0.0f;
    for (unsigned plane = blockIdx.z; plane < p.planes; plane += gridDim.z) {
        const float* v = proxy + (plane * uint64(p.height) + p.top + r) * p.width + p.left;
        out[(plane * uint64(p.rows) + r) * stride + c] = inside ? (v[c] - float(mean[plane])) * w : 0.0f;
    }
}
