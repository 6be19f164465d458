// y = a x0 + b x1, or y += a x0 + b x1; see src/kernels/pair_mix.rs.
#include "nsct.cuh"

struct PairMixParams {
    unsigned count, add;
    unsigned long long area, x_stride, pair_stride, y_stride;
    double a, b;
};

template <typename T>
__device__ void pair_mix(const T* __restrict__ x, T* __restrict__ y, const PairMixParams& p) {
    const T a = T(p.a), b = T(p.b);
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < p.area;
             i += (unsigned long long)gridDim.x * blockDim.x) {
            const T x0 = x[n * p.x_stride + i], x1 = x[n * p.x_stride + p.pair_stride + i];
            T* out = y + n * p.y_stride + i;
            *out = p.add ? fused(a, x0, fused(b, x1, *out)) : fused(a, x0, b * x1);
        }
    }
}

extern "C" __global__ void pair_mix_f32(const float* x, float* y, PairMixParams p) { pair_mix(x, y, p); }
extern "C" __global__ void pair_mix_f64(const double* x, double* y, PairMixParams p) { pair_mix(x, y, p); }
