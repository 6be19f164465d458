// y[n, r, c] = sum_t v_t x[n, (r - dr_t) mod H, (c - dc_t) mod W]; see src/kernels/taps.rs.
#include "nsct.cuh"

struct TapsParams {
    unsigned count, height, width, taps;
    unsigned long long x_stride, y_stride;
};

template <typename T>
__device__ void taps(const T* __restrict__ x, const int* __restrict__ offsets, const T* __restrict__ values,
                     T* __restrict__ y, const TapsParams& p) {
    const int r = blockIdx.y * blockDim.y + threadIdx.y;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int height = p.height, width = p.width;
    if (r >= height || c >= width) return;
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* plane = x + n * p.x_stride;
        T sum = 0;
        for (unsigned t = 0; t < p.taps; ++t) {
            // Offsets lie in [0, H) and [0, W).
            int row = r - offsets[2 * t], column = c - offsets[2 * t + 1];
            row += row < 0 ? height : 0;
            column += column < 0 ? width : 0;
            sum = fused(plane[(unsigned long long)row * width + column], values[t], sum);
        }
        y[n * p.y_stride + (unsigned long long)r * width + c] = sum;
    }
}

extern "C" __global__ void taps_f32(const float* x, const int* offsets, const float* values, float* y, TapsParams p) {
    taps(x, offsets, values, y, p);
}
extern "C" __global__ void taps_f64(const double* x, const int* offsets, const double* values, double* y, TapsParams p) {
    taps(x, offsets, values, y, p);
}
