// Histograms of magnitudes; see src/kernels/plane_histogram.rs.
#include "nsct.cuh"

constexpr unsigned kBins = 256;                   // twin of HISTOGRAM_BINS
constexpr unsigned long long kChunk = 1 << 14;    // elements that a block counts before it adds to the plane's counters

struct PlaneHistogramParams {
    unsigned count;
    unsigned long long area, stride;
};

template <typename T>
__device__ void plane_histogram(const double* __restrict__ bounds, const T* __restrict__ x,
                                unsigned long long* __restrict__ counts, const PlaneHistogramParams& p) {
    __shared__ unsigned own[kBins];
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const T* plane = x + n * p.stride;
        const double bound = bounds[n];
        for (unsigned long long start = blockIdx.x * kChunk; start < p.area; start += gridDim.x * kChunk) {
            for (unsigned i = threadIdx.x; i < kBins; i += blockDim.x) own[i] = 0;
            __syncthreads();
            const unsigned long long end = start + kChunk < p.area ? start + kChunk : p.area;
            for (unsigned long long i = start + threadIdx.x; i < end; i += blockDim.x) {
                const double position = fabs(double(plane[i])) / bound * double(kBins);
                // Bin 0 for NaN, the last one for what is beyond it.
                unsigned bin = 0;
                if (position >= double(kBins)) bin = kBins - 1;
                else if (position > 0) bin = unsigned(position);
                atomicAdd(&own[bin], 1u);
            }
            __syncthreads();
            for (unsigned i = threadIdx.x; i < kBins; i += blockDim.x) {
                if (own[i] != 0) atomicAdd(&counts[(unsigned long long)n * kBins + i], (unsigned long long)own[i]);
            }
            // Each thread begins the next chunk with the bins that it alone has read here.
        }
    }
}

extern "C" __global__ void plane_histogram_f32(const double* bounds, const float* x, unsigned long long* counts,
                                               PlaneHistogramParams p) {
    plane_histogram(bounds, x, counts, p);
}
extern "C" __global__ void plane_histogram_f64(const double* bounds, const double* x, unsigned long long* counts,
                                               PlaneHistogramParams p) {
    plane_histogram(bounds, x, counts, p);
}
