// Half-sample symmetric extension; see src/kernels/symext.rs.
#include "nsct.cuh"

struct SymextParams {
    unsigned count, height, width, out_height, out_width;
    long long top, left;
    unsigned long long x_stride, y_stride;
};

template <typename T>
__device__ void symext(const T* __restrict__ x, T* __restrict__ y, const SymextParams& p) {
    const unsigned i = blockIdx.y * blockDim.y + threadIdx.y;
    const unsigned j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.out_height || j >= p.out_width) return;
    const int row = mirrored(i + p.top, p.height), column = mirrored(j + p.left, p.width);
    for (unsigned n = blockIdx.z; n < p.count; n += gridDim.z) {
        y[n * p.y_stride + (unsigned long long)i * p.out_width + j] =
            x[n * p.x_stride + (unsigned long long)row * p.width + column];
    }
}

extern "C" __global__ void symext_f32(const float* x, float* y, SymextParams p) { symext(x, y, p); }
extern "C" __global__ void symext_f64(const double* x, double* y, SymextParams p) { symext(x, y, p); }
