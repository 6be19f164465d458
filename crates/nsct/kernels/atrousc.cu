// The valid part of a convolution with a stretched dense filter; see src/kernels/atrousc.rs.
#include "nsct.cuh"

struct AtrouscParams {
    unsigned count, height, width, out_height, out_width, filter_rows, filter_columns, step;
    unsigned long long x_stride, y_stride;
};

template <typename T>
__device__ void atrousc(const T* __restrict__ x, const T* __restrict__ h, T* __restrict__ y, const AtrouscParams& p) {
    const unsigned r = blockIdx.y * blockDim.y + threadIdx.y;
    const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
    if (r >= p.out_height || c >= p.out_width) return;
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* line = x + n * p.x_stride + (unsigned long long)(r + p.step - 1) * p.width + c + p.step - 1;
        // Backwards through the filter is forwards through the image.
        const T* tap = h + (unsigned long long)p.filter_rows * p.filter_columns;
        T sum = 0;
        for (unsigned a = 0; a < p.filter_rows; ++a) {
            for (unsigned b = 0; b < p.filter_columns; ++b) sum = fused(line[b * p.step], *--tap, sum);
            line += (unsigned long long)p.step * p.width;
        }
        y[n * p.y_stride + (unsigned long long)r * p.out_width + c] = sum;
    }
}

extern "C" __global__ void atrousc_f32(const float* x, const float* h, float* y, AtrouscParams p) {
    atrousc(x, h, y, p);
}
extern "C" __global__ void atrousc_f64(const double* x, const double* h, double* y, AtrouscParams p) {
    atrousc(x, h, y, p);
}
