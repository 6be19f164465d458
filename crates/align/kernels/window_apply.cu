// out = (v - mean) (w_y w_x); see src/kernels/window_apply.rs.
#include "align.cuh"
#include "window.cuh"

constexpr unsigned kRows = 4;    // rows of a thread; twin of ROWS

// A thread asks for all its values before it uses the first.
extern "C" __global__ void __launch_bounds__(256)
window_apply_f32(const float* __restrict__ proxy, const double* __restrict__ mean, const float* __restrict__ wy,
                 const float* __restrict__ wx, float* __restrict__ out, WindowParams p) {
    const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned first = blockIdx.y * blockDim.y * kRows + threadIdx.y;
    if (c >= p.columns || first >= p.rows) return;
    const float w = wx[c];
    for (unsigned plane = blockIdx.z; plane < p.planes; plane += gridDim.z) {
        const float* from = proxy + (plane * uint64(p.height) + p.top) * p.width + p.left + c;
        float* to = out + plane * uint64(p.rows) * p.columns + c;
        const float level = float(mean[plane]);
        float v[kRows], h[kRows];
#pragma unroll
        for (unsigned i = 0; i < kRows; ++i) {
            const unsigned r = min(first + i * blockDim.y, p.rows - 1);
            v[i] = from[uint64(r) * p.width];
            h[i] = wy[r];
        }
#pragma unroll
        for (unsigned i = 0; i < kRows; ++i) {
            const unsigned r = first + i * blockDim.y;
            if (r < p.rows) to[uint64(r) * p.columns] = (v[i] - level) * (h[i] * w);
        }
    }
}
