// y0 = sum_d a_d t_d, y1 = sum_d b_d t_d; see src/kernels/poly_pair.rs.
#include "nsct.cuh"

struct PolyPairParams {
    unsigned count, degree;
    unsigned long long area, x_stride, y_stride, pair_stride;
    double first[5], second[5];
};

template <typename T>
__device__ void poly_pair(const T* __restrict__ x, const T* const (&powers)[4], T* __restrict__ y,
                          const PolyPairParams& p) {
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < p.area;
             i += (unsigned long long)gridDim.x * blockDim.x) {
            T y0 = 0, y1 = 0;
            // Unrolled, so that the pointers stay in registers; at the top degree the sum is the product alone.
#pragma unroll
            for (int d = 4; d >= 0; --d) {
                if (d > int(p.degree)) continue;
                const T t = d == 0 ? x[n * p.x_stride + i] : powers[d - 1][n * p.area + i];
                const T a = T(p.first[d]), b = T(p.second[d]);
                const bool top = d == int(p.degree);
                y0 = top ? a * t : fused(a, t, y0);
                y1 = top ? b * t : fused(b, t, y1);
            }
            y[n * p.y_stride + i] = y0;
            y[n * p.y_stride + p.pair_stride + i] = y1;
        }
    }
}

extern "C" __global__ void poly_pair_f32(const float* x, const float* t1, const float* t2, const float* t3,
                                         const float* t4, float* y, PolyPairParams p) {
    const float* const powers[4] = {t1, t2, t3, t4};
    poly_pair(x, powers, y, p);
}
extern "C" __global__ void poly_pair_f64(const double* x, const double* t1, const double* t2, const double* t3,
                                         const double* t4, double* y, PolyPairParams p) {
    const double* const powers[4] = {t1, t2, t3, t4};
    poly_pair(x, powers, y, p);
}
