// y = 2 P_rows P_columns x - x with mirror boundary; see src/kernels/mirror_map.rs.
#include "nsct.cuh"

struct MirrorMapParams {
    unsigned count, height, width, half;
    unsigned row_step, column_step;
    unsigned long long x_stride, y_stride;
    double taps[4];
};

template <typename T>
__device__ void mirror_map(const T* __restrict__ x, T* __restrict__ y, const MirrorMapParams& p) {
    const int r = blockIdx.y * blockDim.y + threadIdx.y;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int height = p.height, width = p.width, half = p.half;
    if (r >= height || c >= width) return;
    int columns[7];
    for (int k = -half; k <= half; ++k) columns[k + half] = mirrored(c - (long long)p.column_step * k, width);
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* plane = x + n * p.x_stride;
        T sum = 0;
        for (int k = -half; k <= half; ++k) {
            const T outer = T(p.taps[k < 0 ? -k : k]);
            if (outer == T(0)) continue;
            const T* row = plane + (unsigned long long)mirrored(r - (long long)p.row_step * k, height) * width;
            T inner_sum = 0;
            for (int j = -half; j <= half; ++j) {
                const T inner = T(p.taps[j < 0 ? -j : j]);
                if (inner == T(0)) continue;
                inner_sum = fused(row[columns[j + half]], inner, inner_sum);
            }
            sum = fused(inner_sum, outer, sum);
        }
        const unsigned long long at = (unsigned long long)r * width + c;
        y[n * p.y_stride + at] = fused(T(2), sum, -plane[at]);
    }
}

extern "C" __global__ void mirror_map_f32(const float* x, float* y, MirrorMapParams p) { mirror_map(x, y, p); }
extern "C" __global__ void mirror_map_f64(const double* x, double* y, MirrorMapParams p) { mirror_map(x, y, p); }
