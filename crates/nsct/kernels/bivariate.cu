// Bivariate shrinkage in place; see src/kernels/bivariate.rs.
#include "nsct.cuh"

struct BivariateParams {
    unsigned count, has_parent;
    unsigned long long area, stride, child, parent, energy_stride;
};

template <typename T>
__device__ __forceinline__ T shrink(T y, T parent, T energy, T variance) {
    const T excess = energy - variance;
    const T s = excess < 0 ? T(0) : sqrt(excess);
    const T t = s == 0 ? T(INFINITY) : T(1.7320508075688772) * variance / s;
    const T m = sqrt(y * y + parent * parent);
    // Written so that a NaN is not taken for a small coefficient.
    return m <= t ? T(0) : y * (m - t) / m;
}

template <typename T>
__device__ void bivariate(const T* __restrict__ variances, const T* __restrict__ energies, T* y,
                          const BivariateParams& p) {
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const T variance = variances[n];
        T* image = y + n * p.stride;
        for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < p.area;
             i += (unsigned long long)gridDim.x * blockDim.x) {
            const T parent = p.has_parent ? image[p.parent + i] : T(0);
            T* child = image + p.child + i;
            *child = shrink(*child, parent, energies[n * p.energy_stride + i], variance);
        }
    }
}

extern "C" __global__ void bivariate_f32(const float* variances, const float* energies, float* y, BivariateParams p) {
    bivariate(variances, energies, y, p);
}
extern "C" __global__ void bivariate_f64(const double* variances, const double* energies, double* y,
                                         BivariateParams p) {
    bivariate(variances, energies, y, p);
}
