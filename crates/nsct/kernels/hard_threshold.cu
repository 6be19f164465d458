// y = 0 where |y| < t_n; see src/kernels/hard_threshold.rs.
#include "nsct.cuh"

struct HardThresholdParams {
    unsigned count;
    unsigned long long area, stride;
};

template <typename T>
__device__ void hard_threshold(const T* __restrict__ thresholds, T* __restrict__ y, const HardThresholdParams& p) {
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const T t = thresholds[n];
        T* plane = y + n * p.stride;
        for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < p.area;
             i += (unsigned long long)gridDim.x * blockDim.x) {
            if (fabs(plane[i]) < t) plane[i] = 0;
        }
    }
}

extern "C" __global__ void hard_threshold_f32(const float* thresholds, float* y, HardThresholdParams p) {
    hard_threshold(thresholds, y, p);
}
extern "C" __global__ void hard_threshold_f64(const double* thresholds, double* y, HardThresholdParams p) {
    hard_threshold(thresholds, y, p);
}
