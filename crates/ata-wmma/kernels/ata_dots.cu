// Sums of products of each frame and channel; see src/kernels/dots.rs.
#include "ata.cuh"

struct DotsParams {
    unsigned lines, n;
};

extern "C" __global__ void ata_dots(const float* x, const float* y, const float* z, double* out, DotsParams p) {
    __shared__ double lanes[3][kLanes];
    const u64 start = u64(blockIdx.x) * p.n;
    double own[3] = {0, 0, 0};
    for (unsigned i = threadIdx.x; i < p.n; i += kLanes) {
        const double a = x[start + i], b = y[start + i], c = z[start + i];
        own[0] += a * b;
        own[1] += b * b;
        own[2] += a * (b - c);
    }
    fold(own, lanes);
    if (threadIdx.x < 3) out[u64(blockIdx.x) * 3 + threadIdx.x] = own[threadIdx.x];
}
