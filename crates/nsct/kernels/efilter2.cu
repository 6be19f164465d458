// Centred periodic convolution with a dense filter; see src/kernels/efilter2.rs.
#include "nsct.cuh"

struct Efilter2Params {
    unsigned count, height, width, filter_rows, filter_columns, start_row, start_column;
    unsigned long long x_stride, y_stride;
};

template <typename T>
__device__ void efilter2(const T* __restrict__ x, const T* __restrict__ h, T* __restrict__ y, const Efilter2Params& p) {
    const int r = blockIdx.y * blockDim.y + threadIdx.y;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int height = p.height, width = p.width;
    if (r >= height || c >= width) return;
    int first_row = r + int(p.start_row), first_column = c + int(p.start_column);
    first_row -= first_row >= height ? height : 0;
    first_column -= first_column >= width ? width : 0;
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        const T* plane = x + n * p.x_stride;
        T sum = 0;
        int row = first_row;
        for (unsigned a = 0; a < p.filter_rows; ++a) {
            const T* line = plane + (unsigned long long)row * width;
            int column = first_column;
            for (unsigned b = 0; b < p.filter_columns; ++b) {
                sum = fused(line[column], h[a * p.filter_columns + b], sum);
                column = column == 0 ? width - 1 : column - 1;
            }
            row = row == 0 ? height - 1 : row - 1;
        }
        y[n * p.y_stride + (unsigned long long)r * width + c] = sum;
    }
}

extern "C" __global__ void efilter2_f32(const float* x, const float* h, float* y, Efilter2Params p) {
    efilter2(x, h, y, p);
}
extern "C" __global__ void efilter2_f64(const double* x, const double* h, double* y, Efilter2Params p) {
    efilter2(x, h, y, p);
}
