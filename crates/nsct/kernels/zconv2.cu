// Periodic convolution with an upsampled dense filter; see src/kernels/zconv2.rs.
#include "nsct.cuh"

struct Zconv2Params {
    unsigned count, height, width, filter_rows, filter_columns;
    unsigned start_row, start_column, row_by_a, row_by_b, column_by_a, column_by_b;
    unsigned long long x_stride, y_stride;
};

// i - by in [0, n), for both in [0, n).
__device__ __forceinline__ int back(int i, unsigned by, int n) {
    i -= int(by);
    return i < 0 ? i + n : i;
}

template <typename T>
__device__ void zconv2(const T* __restrict__ x, const T* __restrict__ h, T* __restrict__ y, const Zconv2Params& p) {
    const int r = blockIdx.y * blockDim.y + threadIdx.y;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int height = p.height, width = p.width;
    if (r >= height || c >= width) return;
    // Forward by start is back by n - start.
    const int first_row = back(r, p.start_row == 0 ? 0 : height - p.start_row, height);
    const int first_column = back(c, p.start_column == 0 ? 0 : width - p.start_column, width);
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* plane = x + n * p.x_stride;
        T sum = 0;
        int row_a = first_row, column_a = first_column;
        for (unsigned a = 0; a < p.filter_rows; ++a) {
            int row = row_a, column = column_a;
            for (unsigned b = 0; b < p.filter_columns; ++b) {
                sum = fused(plane[(unsigned long long)row * width + column], h[a * p.filter_columns + b], sum);
                row = back(row, p.row_by_b, height);
                column = back(column, p.column_by_b, width);
            }
            row_a = back(row_a, p.row_by_a, height);
            column_a = back(column_a, p.column_by_a, width);
        }
        y[n * p.y_stride + (unsigned long long)r * width + c] = sum;
    }
}

extern "C" __global__ void zconv2_f32(const float* x, const float* h, float* y, Zconv2Params p) { zconv2(x, h, y, p); }
extern "C" __global__ void zconv2_f64(const double* x, const double* h, double* y, Zconv2Params p) { zconv2(x, h, y, p); }
