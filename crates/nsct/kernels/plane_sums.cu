// Figures of the chunks of planes; see src/kernels/plane_sums.rs.
#include "nsct.cuh"
#include "sums.cuh"

constexpr unsigned long long kChunk = 1 << 14;    // twin of SUM_CHUNK

struct PlaneSumsParams {
    unsigned count, chunks;
    unsigned long long area, stride;
};

template <typename T>
__device__ void plane_sums(const double* __restrict__ shifts, const T* __restrict__ x, double* __restrict__ sums,
                           const PlaneSumsParams& p) {
    const unsigned long long chunk = blockIdx.x, start = chunk * kChunk;
    const unsigned long long end = start + kChunk < p.area ? start + kChunk : p.area;
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const T* plane = x + n * p.stride;
        const double shift = shifts[n];
        Figures own = {0, 0, 0, 0};
        for (unsigned long long i = start + threadIdx.x; i < end; i += kLanes) {
            const double v = double(plane[i]) - shift;
            own.add(v, fabs(v), v * v, fabs(v));
        }
        fold(own, sums + (n * (unsigned long long)p.chunks + chunk) * 4);
    }
}

extern "C" __global__ void plane_sums_f32(const double* shifts, const float* x, double* sums, PlaneSumsParams p) {
    plane_sums(shifts, x, sums, p);
}
extern "C" __global__ void plane_sums_f64(const double* shifts, const double* x, double* sums, PlaneSumsParams p) {
    plane_sums(shifts, x, sums, p);
}
