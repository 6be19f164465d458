// Fusion by a score a coefficient; see src/kernels/fuse_scored.rs.
#include "nsct.cuh"

struct FuseScoredParams {
    unsigned count, blend;
    unsigned long long area, x_stride, y_stride, score_stride;
};

template <typename T>
__device__ void fuse_scored(const T* __restrict__ x, const T* __restrict__ x_scores, T* __restrict__ y,
                            T* __restrict__ y_scores, const FuseScoredParams& p) {
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < p.area;
             i += (unsigned long long)gridDim.x * blockDim.x) {
            const T other = x[n * p.x_stride + i], f = x_scores[n * p.score_stride + i];
            T* best = y + n * p.y_stride + i;
            T* score = y_scores + n * p.score_stride + i;
            const T e = *score;
            if (p.blend) {
                const T sum = e + f;
                if (!(sum == 0)) *best = *best + (other - *best) * (f / sum);
                *score = sum;
            } else if (!(e >= f || isnan(e))) {
                *best = other;
                *score = f;
            }
        }
    }
}

extern "C" __global__ void fuse_scored_f32(const float* x, const float* x_scores, float* y, float* y_scores,
                                           FuseScoredParams p) {
    fuse_scored(x, x_scores, y, y_scores, p);
}
extern "C" __global__ void fuse_scored_f64(const double* x, const double* x_scores, double* y, double* y_scores,
                                           FuseScoredParams p) {
    fuse_scored(x, x_scores, y, y_scores, p);
}
